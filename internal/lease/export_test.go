package lease

import "time"

// ShortenWatch has an expired lease watched for a moment only.
func ShortenWatch() { watchLimit = 200 * time.Millisecond }
