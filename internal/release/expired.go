package release

import "slices"

// Expired lists the releases that retention lets go, in the order in which
// they are to be removed: first those that failed, were rolled back, never
// came to an end or were never verified, then verified ones. It keeps the live
// one, the newest keep verified ones besides (one at least: the last good one;
// where none was ever verified, the newest that was live), those fetched since,
// ahead of a deployment to come, and those in needed: what an unfinished
// operation has to go on to, or back to.
func Expired(all []Release, live string, keep int, needed ...string) []Release {
	verified := slices.ContainsFunc(all, func(r Release) bool { return r.State == Verified && r.ID != live })
	kept := 0
	var others, good []Release
	for _, r := range slices.Backward(all) {
		last := r.State == Verified || r.State == Live && !verified && kept == 0
		switch {
		case r.ID == live:
		case last && kept < max(keep, 1):
			kept++
		case slices.Contains(needed, r.ID):
		case (r.State == Installed || r.State == Fetched) && kept == 0:
		case r.State == Verified:
			good = append(good, r)
		default:
			others = append(others, r)
		}
	}
	return append(others, good...)
}
