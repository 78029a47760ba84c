package step

import "time"

// ShortenUndoPauses has a failed undo tried again at once.
func ShortenUndoPauses() { undoPauses = []time.Duration{time.Millisecond, time.Millisecond} }
