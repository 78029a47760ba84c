package release

import (
	"path"
	"slices"
	"time"
)

// records looks at each record by itself and at those that name the same.
func (in *inspection) records() {
	seen := map[string]int{}
	for _, r := range in.all {
		seen[r.ID]++
	}
	live := in.live()
	for _, r := range in.all {
		switch n := seen[r.ID]; {
		case n < 0:
			continue // said already
		case n > 1:
			in.add(true, "release %s has %d records in %s: which of them holds is not known, its folder can be trusted. Take out all but the one that the journal of its operation bears out", r.ID, n, in.s.file())
		}
		seen[r.ID] = -1
		if !idForm.MatchString(r.ID) {
			in.add(true, "%s holds a record of %q, which is no release id: the other records can be trusted. Mend or take out this one", in.s.file(), r.ID)
			continue
		}
		if !slices.Contains([]State{Building, Fetched, Installed, Live, Verified, Failed, RolledBack}, r.State) {
			in.add(live != nil && live.ID == r.ID, "release %s is recorded in state %q, which this program does not know: it is never rolled back to. Mend the record in %s, or use the newer program that wrote it", r.ID, r.State, in.s.file())
		}
		if live == nil || r.ID != live.ID { // said of `current` already
			in.folderless(r)
			in.younger(r, live)
		}
	}
}

// folderless: a half-built release need not have a folder, all others do.
func (in *inspection) folderless(r Release) {
	if r.State == Building || slices.Contains(in.folders, r.ID) {
		return
	}
	dir := in.s.Dir(r.ID)
	switch r.State {
	case Verified:
		in.add(true, "release %s is recorded as verified, but its folder %s is not there: no rollback can go to it. Put the folder back, or take the record out of %s", r.ID, dir, in.s.file())
	case Live:
		in.add(true, "release %s was live, but its folder %s is not there. Put the folder back, or take the record out of %s", r.ID, dir, in.s.file())
	default:
		in.add(false, "release %s is recorded as %s, but its folder %s is not there: it cannot be used. Take the record out of %s; `deploy` builds the release anew", r.ID, r.State, dir, in.s.file())
	}
}

// younger finds a release that was activated after the one that is current,
// and neither failed nor was rolled back since.
func (in *inspection) younger(r Release, live *Release) {
	if live == nil || live.Activated == nil || r.Activated == nil || (r.State != Live && r.State != Verified) || !r.Activated.After(*live.Activated) {
		return
	}
	in.add(false, "release %s was activated at %s by %s, after the current one, %s (%s), but %s does not point to it: the link can be trusted. Either the switch was cut off (`resume`), or a person went back by hand: then set its state to %q in %s",
		r.ID, r.Activated.UTC().Format(time.RFC3339), r.ActivatedBy, live.ID, live.Activated.UTC().Format(time.RFC3339), in.s.CurrentLink(), RolledBack, in.s.file())
}

// strangers are what lies in the folder of the releases without a record.
func (in *inspection) strangers() {
	for _, name := range in.folders {
		if slices.ContainsFunc(in.all, func(r Release) bool { return r.ID == name }) || name == in.s.linked(in.link) {
			continue
		}
		in.add(false, "%s is recorded nowhere: the suite does not use it and does not remove it. Remove it, if no process runs in it (services:status)", path.Join(in.s.root, "releases", name))
	}
}
