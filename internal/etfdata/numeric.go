package etfdata

import (
	"encoding/binary"
	"math"
)

// numeric reads PostgreSQL's binary form of a number: digits to the base of
// 10,000, the first of them of that power of it which is called its weight.
// NULL is 0.
func numeric(p []byte) (value float64, ok bool) {
	const header, negative, notANumber, infinite = 8, 0x4000, 0xC000, 0xD000
	if p == nil {
		return 0, true
	}
	if len(p) < header {
		return 0, false
	}
	digits, weight, sign := int(int16At(p)), int(int16At(p[2:])), binary.BigEndian.Uint16(p[4:])
	if digits < 0 || len(p) != header+2*digits {
		return 0, false
	}
	for i := range digits {
		value = value*10000 + float64(int16At(p[header+2*i:]))
	}
	switch power := 4 * (weight + 1 - digits); {
	case power < 0:
		value /= math.Pow10(-power)
	case power > 0:
		value *= math.Pow10(power)
	}
	// What no float64 can hold stays above zero, and finite.
	if digits > 0 && !(value < math.MaxFloat64) {
		value = math.MaxFloat64
	} else if digits > 0 {
		value = max(value, math.SmallestNonzeroFloat64)
	}
	switch sign {
	case 0:
		return value, true
	case negative:
		return -value, true
	case notANumber:
		return math.NaN(), true
	case infinite:
		return math.Inf(1), true
	}
	return math.Inf(-1), true
}

func int16At(p []byte) int16 { return int16(binary.BigEndian.Uint16(p)) }
func int32At(p []byte) int32 { return int32(binary.BigEndian.Uint32(p)) }
