package sandbox

import (
	"fmt"
	"hash/crc32"
	"math"
	"strconv"
)

// Prices and rates are closed formulas of symbol and day, so that the history
// loaded here and what the price source (etfservice/pricesource.py) answers
// later are the same numbers. A change to a formula is made in both.

// A listing is one ETF on one exchange.
type listing struct {
	index    int
	symbol   string
	currency string // of the listing; GBp is pence
	rate     string // the currency whose rate converts it; empty for EUR
	hash     uint32
}

// exchanges are taken in turn.
var exchanges = []struct{ suffix, currency, rate string }{
	{".DE", "EUR", ""},
	{".US", "USD", "USD"},
	{".L", "GBp", "GBP"},
	{".SW", "CHF", "CHF"},
}

func newListing(index int) listing {
	x := exchanges[index%len(exchanges)]
	symbol := fmt.Sprintf("E%04d%s", index, x.suffix)
	return listing{index: index, symbol: symbol, currency: x.currency, rate: x.rate, hash: crc(symbol)}
}

func crc(text string) uint32 { return crc32.ChecksumIEEE([]byte(text)) }

// isin returns the ETF's ISIN: Ireland, nine digits of the index, and the
// check digit.
func (l listing) isin() string {
	body := fmt.Sprintf("IE%09d", l.index)
	return body + strconv.Itoa(isinCheckDigit(body))
}

// isinCheckDigit follows ISO 6166: letters become two digits (A is 10), and
// from the right every second digit counts twice, by its digit sum.
func isinCheckDigit(body string) int {
	var digits []int
	for _, c := range body {
		if c >= 'A' && c <= 'Z' {
			n := int(c-'A') + 10
			digits = append(digits, n/10, n%10)
		} else {
			digits = append(digits, int(c-'0'))
		}
	}
	sum := 0
	for i := range digits {
		n := digits[len(digits)-1-i]
		if i%2 == 0 {
			n *= 2
		}
		sum += n/10 + n%10
	}
	return (10 - sum%10) % 10
}

// A quote is a listing's prices of one day, in its own currency, as the price
// source gives them.
type quote struct {
	open, high, low, close float64
	volume                 int64
}

func (l listing) quote(d day) quote {
	h := l.hash
	base := float64(20 + h%180)
	growth := 0.02 + float64((h>>8)%60)/1000
	t := float64(d-16000) / 365.25
	wave := 0.06*math.Sin(2*math.Pi*t/1.7+float64((h>>16)%628)/100) +
		0.015*math.Sin(2*math.Pi*float64(d)/9+float64((h>>4)%628)/100)
	noise := float64(int64(crc(l.symbol+":"+strconv.Itoa(int(d)))%2001)-1000) * 0.000006
	last := base * math.Exp(growth*t) * (1 + wave) * (1 + noise)
	if l.currency == "GBp" {
		last *= 100
	}
	first := last * (1 + 0.002*math.Sin(float64(d)))
	return quote{
		open: cents(first).float(), high: cents(max(first, last) * 1.003).float(),
		low: cents(min(first, last) * 0.997).float(), close: cents(last).float(),
		volume: 1000 + int64(crc(l.symbol+":v:"+strconv.Itoa(int(d)))%90000),
	}
}

// inEUR converts an amount of the listing's currency, as the service does.
func (l listing) inEUR(amount, rate float64) hundredths {
	switch l.currency {
	case "EUR":
		return cents(amount)
	case "GBp":
		return cents(amount / 100 / rate)
	default:
		return cents(amount / rate)
	}
}

// baseRates are the currencies that the service tracks, around these values.
var baseRates = []struct {
	currency string
	value    float64
}{
	{"USD", 1.10}, {"CHF", 0.97}, {"GBP", 0.86}, {"JPY", 160}, {"CAD", 1.48}, {"AUD", 1.65},
	{"SEK", 11.3}, {"DKK", 7.46}, {"NOK", 11.6}, {"SGD", 1.46}, {"HKD", 8.6},
}

// rateAt is what one EUR was worth, to six decimals.
func rateAt(currency string, base float64, d day) string {
	swing := 0.03*math.Sin(2*math.Pi*float64(d)/400+float64(crc(currency)%628)/100) + 0.002*math.Sin(float64(d))
	return strconv.FormatFloat(base*(1+swing), 'f', 6, 64)
}

// hundredths are an amount rounded to two decimals.
type hundredths int64

// cents rounds to the nearest hundredth, the amount's binary value being taken
// exactly and a tie going to the even neighbour: as Python's round does.
func cents(amount float64) hundredths {
	scaled := amount * 100
	nearest := math.RoundToEven(scaled)
	if away := math.Abs(scaled - math.Floor(scaled) - 0.5); away > 1e-4 {
		return hundredths(nearest)
	}
	// The multiplication may have moved a near tie across the middle.
	exact, err := strconv.ParseFloat(strconv.FormatFloat(amount, 'f', 2, 64), 64)
	if err != nil {
		return hundredths(nearest)
	}
	return hundredths(math.Round(exact * 100))
}

// float is the binary number nearest to the amount, the one that its decimal
// text reads as.
func (h hundredths) float() float64 { return float64(h) / 100 }

// append writes the amount as text.
func (h hundredths) append(buf []byte) []byte {
	if h < 0 {
		buf = append(buf, '-')
		h = -h
	}
	buf = strconv.AppendInt(buf, int64(h/100), 10)
	return append(buf, '.', byte('0'+h/10%10), byte('0'+h%10))
}
