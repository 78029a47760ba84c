package checklist

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/alembic"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/rowdiff"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// A Way is how a rollback brings the database to the release that it goes to.
type Way string

// Ways of a rollback, the one that costs least first.
const (
	WayCode      Way = "code"      // the database is at that release's head already
	WayDowngrade Way = "downgrade" // the newer release's own migrations, run backwards
	WayRestore   Way = "restore"   // the backup, restored beside the live database and swapped in
)

var ways = []Way{WayCode, WayDowngrade, WayRestore}

// A Candidate is a release that a rollback may go to.
type Candidate struct {
	release.Release
	Newest *Manifest `json:"newest_backup,omitempty"` // that was taken while it was live
}

// A RollbackPlan is where a rollback would go to, how, and at what cost.
type RollbackPlan struct {
	Version    int                 `json:"version"`
	Live       release.Release     `json:"live"`
	To         release.Release     `json:"to"`
	Candidates []Candidate         `json:"candidates"`   // the newest first
	Head       string              `json:"alembic_head"` // of the database
	Way        Way                 `json:"path"`
	Reasons    []string            `json:"reasons"`                 // why not the ways before it
	Knows      string              `json:"migrations_of,omitempty"` // release whose files lead back
	Migrations []alembic.Migration `json:"migrations,omitempty"`    // that a downgrade takes back, or a restore has never seen
	Beside     bool                `json:"beside"`                  // a downgrade under the running API
	Backup     *Manifest           `json:"backup,omitempty"`        // the one before the live release wrote anything; nil: none
	Written    *rowdiff.Diff       `json:"written,omitempty"`       // rows written since that backup
	Expected   Expectation         `json:"expected"`
	Gradual    bool                `json:"gradual,omitempty"` // the database stays, and rows are repaired in it

	leaves string // release that an earlier gradual rollback has left already, and is left again
}

// An Expectation is how long a rollback will take, by what was measured before.
type Expectation struct {
	Total   time.Duration `json:"total_ns"`
	Workers time.Duration `json:"workers_stopped_ns"`
	API     time.Duration `json:"api_stopped_ns"`
}

// PlanRollback finds out what a rollback would do, and changes nothing. With
// count it looks, too, which rows were written since the backup.
func (t *Target) PlanRollback(ctx context.Context, o Options, count bool) (*RollbackPlan, error) {
	p := &RollbackPlan{Version: formatVersion}
	if err := t.chooseRelease(ctx, p, o.To); err != nil {
		return nil, err
	}
	var err error
	if p.Head, err = t.databaseHead(ctx); err != nil {
		return nil, err
	}
	if p.Backup, err = t.backupFor(ctx, p.To, o.Backup); err != nil {
		return nil, err
	}
	among := ways
	if o.Path != "" {
		among = []Way{o.Path}
	}
	if err := t.chooseWay(ctx, p, among); err != nil {
		return nil, err
	}
	if p.Way == "" {
		return nil, fmt.Errorf("%w: there is no such way to release %s that loses nothing: %s", step.ErrFault, p.To.ID, strings.Join(p.Reasons, "; "))
	}
	p.Expected = t.expectRollback(ctx, p)
	if count && p.Backup != nil {
		p.Written, err = rowdiff.Count(ctx, t.comparison(p.Backup, "", "etf-deploy"))
	}
	return p, err
}

// WouldLeaveRows reports whether rows that were written since the backup would
// not be in the restored database.
func (p *RollbackPlan) WouldLeaveRows() bool {
	return p.Way == WayRestore && p.Written != nil && writtenSummary(*p.Written) != ""
}

// chooseRelease lists the candidates and takes one: that which was asked for,
// or the one that was live last.
func (t *Target) chooseRelease(ctx context.Context, p *RollbackPlan, to string) error {
	live, err := t.Releases.Current(ctx)
	if err != nil {
		return err
	}
	if live == nil {
		return fmt.Errorf("%w: no release is live: there is nothing to roll back from", step.ErrFault)
	}
	p.Live = *live
	all, err := t.Releases.All(ctx)
	if err != nil {
		return err
	}
	backups, err := t.Backups(ctx)
	if err != nil {
		t.Observer.Log("rollback:plan", "passed over: "+err.Error())
	}
	for _, r := range all {
		if !mayRollBackTo(r, live.ID) {
			continue
		}
		if _, err := t.Host.Stat(ctx, t.backend(r.ID)); err != nil {
			t.Observer.Log("rollback:plan", fmt.Sprintf("passed over: release %s is recorded as verified and its folder is not there: %v", r.ID, err))
			continue
		}
		c := Candidate{Release: r}
		if i := slices.IndexFunc(backups, func(m *Manifest) bool { return m.Release == r.ID && proven(m) }); i >= 0 {
			c.Newest = backups[i]
		}
		p.Candidates = append(p.Candidates, c)
	}
	slices.SortStableFunc(p.Candidates, func(a, b Candidate) int { return b.Activated.Compare(*a.Activated) })
	if to == "" {
		if len(p.Candidates) == 0 {
			return fmt.Errorf("%w: there is no verified release besides the live one, %s, to go back to: `release:list` shows their states", step.ErrFault, live.ID)
		}
		p.To = p.Candidates[0].Release
		return nil
	}
	i := slices.IndexFunc(p.Candidates, func(c Candidate) bool { return c.ID == to || strings.HasSuffix(c.ID, "-"+to) })
	if i < 0 {
		return notACandidate(to, live.ID, all)
	}
	p.To = p.Candidates[i].Release
	return nil
}

func mayRollBackTo(r release.Release, live string) bool {
	return r.State == release.Verified && r.ID != live && r.Activated != nil
}

// notACandidate says why it is not possible to go to a release.
func notACandidate(to, live string, all []release.Release) error {
	if to == live || strings.HasSuffix(live, "-"+to) {
		return fmt.Errorf("%w: release %s is the live one", ErrUsage, to)
	}
	for _, r := range all {
		if r.ID == to || strings.HasSuffix(r.ID, "-"+to) {
			return fmt.Errorf("%w: release %s is %s: only verified ones are candidates for a rollback; `deploy -ref=%s` deploys its commit anew", ErrUsage, r.ID, r.State, r.Commit)
		}
	}
	return fmt.Errorf("%w: there is no release %q: -to takes an id or the short commit in it; rollback:plan lists the candidates", ErrUsage, to)
}

func proven(m *Manifest) bool { return m.Proof.Contents != nil }

// provenBackup is the one of this id, which may be gone back to.
func (t *Target) provenBackup(ctx context.Context, id string) (*Manifest, error) {
	m, err := t.Manifest(ctx, id)
	if err == nil && !proven(m) {
		err = fmt.Errorf("%w: backup %s was never proven, or was found damaged: `backup:verify -id=%s` says more", step.ErrFault, id, id)
	}
	return m, err
}

// backupFor is the backup that holds the data of a release: the newest proven
// one that was taken while it was live, or the one that was asked for.
func (t *Target) backupFor(ctx context.Context, to release.Release, id string) (*Manifest, error) {
	if id != "" {
		return t.provenBackup(ctx, id)
	}
	all, err := t.Backups(ctx)
	for _, m := range all {
		if m.Release == to.ID && proven(m) && join(m.Database.AlembicHeads) == to.Head {
			return m, nil
		}
	}
	return nil, err // only where the one that was looked for may be among the unreadable
}

// CheckRollback refuses options of a rollback that cannot be meant, all at once.
func CheckRollback(o Options) error {
	var faults []error
	for name, value := range map[string]string{"to": o.To, "backup": o.Backup} {
		if strings.HasPrefix(value, "-") || strings.ContainsAny(value, "/ \t\n\x00") {
			faults = append(faults, fmt.Errorf("%w: -%s=%q is no id", ErrUsage, name, value))
		}
	}
	if o.Path != "" && !slices.Contains(ways, o.Path) {
		faults = append(faults, fmt.Errorf("%w: -path=%q: it is code, downgrade or restore", ErrUsage, o.Path))
	}
	if !slices.Contains([]string{"", CarryAll, CarryNone}, o.Carry) {
		faults = append(faults, fmt.Errorf("%w: -carry=%q: it is all, none or ask", ErrUsage, o.Carry))
	}
	return errors.Join(faults...)
}

// What becomes of rows that were written since the backup which is restored.
const (
	CarryAll  = "all"  // they are written into the restored database
	CarryNone = "none" // they stay in the replaced one, which is kept, and in a file
)

// comparison names a backup, and its restored form where there is one, for a
// comparison with the live database.
func (t *Target) comparison(m *Manifest, side, applicationName string) rowdiff.Options {
	u, _ := t.databaseURL() // its error is that of the connection
	return rowdiff.Options{
		Host: t.Host, Live: u, ApplicationName: applicationName,
		Backup: rowdiff.Backup{ID: m.ID, Info: m.Database, Side: side, File: t.dumpOf(m), BinDir: t.Config.Database.Tools},
	}
}
