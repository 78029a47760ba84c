package release

import "slices"

// Expired lists the releases that retention lets go, newest first: all but the
// live one, the newest keep verified ones besides (one at least: the last good
// one), and those fetched since, ahead of a deployment to come.
func Expired(all []Release, live string, keep int) []Release {
	kept := 0
	var expired []Release
	for _, r := range slices.Backward(all) {
		switch {
		case r.ID == live:
			continue
		case r.State == Verified && kept < max(keep, 1):
			kept++
			continue
		case (r.State == Installed || r.State == Fetched) && kept == 0:
			continue
		}
		expired = append(expired, r)
	}
	return expired
}
