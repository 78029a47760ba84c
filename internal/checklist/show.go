package checklist

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// formatVersion is that of the JSON which the lists print.
const formatVersion = 1

// writeJSON prints a list under its name, with the version of the form.
func writeJSON(w io.Writer, name string, list any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(map[string]any{"version": formatVersion, name: list})
}

// WriteHistory prints the operations, or the steps of one.
func (t *Target) WriteHistory(ctx context.Context, w io.Writer, operation string, asJSON bool) error {
	if operation != "" {
		if strings.ContainsAny(operation, "/\x00") || strings.HasPrefix(operation, "-") {
			return fmt.Errorf("%w: %q is no operation; history lists them", ErrUsage, operation)
		}
		log, err := journal.Read(ctx, t.Host, path.Join(t.journalDir(), operation+".jsonl"))
		if err != nil {
			return err
		}
		if asJSON {
			return writeJSON(w, "records", log.Records)
		}
		return StepTable(w, log)
	}
	entries, err := t.History(ctx)
	if asJSON {
		if jsonErr := writeJSON(w, "operations", entries); jsonErr != nil {
			return jsonErr
		}
		return err
	}
	table := report.NewTable("operation", "outcome", "by", "duration", "")
	for _, e := range entries {
		table.Row(e.ID, e.Outcome, e.By, report.Duration(e.Duration), firstLine(e.Text))
	}
	return errors.Join(table.Write(w), err)
}

// WriteReleases prints the releases on the target, and behind them what does
// not agree. Where the records cannot be read the folders are listed.
func (t *Target) WriteReleases(ctx context.Context, w io.Writer, asJSON bool) error {
	wrong, err := t.Releases.Disagreements(ctx)
	if err != nil {
		return err
	}
	all, err := t.Releases.All(ctx)
	if errors.Is(err, release.ErrDamaged) || errors.Is(err, release.ErrNewer) {
		all, err = t.foldersAsReleases(ctx)
	}
	if err != nil {
		return err
	}
	link, _ := t.Releases.Link(ctx) // its error is in Disagreements'
	live := path.Base(link)
	if asJSON {
		return report.JSON(w, map[string]any{"version": formatVersion, "releases": all, "current": link, "disagreements": wrong})
	}
	table := report.NewTable("", "release", "state", "ref", "Alembic head", "by", "subject")
	for _, r := range all {
		mark := ""
		if live == r.ID {
			mark = "live"
		}
		table.Row(mark, r.ID, string(r.State), r.Ref, r.Head, r.By, r.Subject)
	}
	if err := table.Write(w); err != nil {
		return err
	}
	for i, text := range wrong {
		if i == 0 {
			fmt.Fprintln(w)
		}
		pageWriter{w}.row("disagrees", "%s", text)
	}
	return nil
}

// foldersAsReleases is what can be said of the releases without their records.
func (t *Target) foldersAsReleases(ctx context.Context) ([]release.Release, error) {
	names, err := t.Releases.Folders(ctx)
	var all []release.Release
	for _, name := range names {
		all = append(all, release.Release{ID: name, State: "not known"})
	}
	return all, err
}

// WriteServices prints the service's processes.
func (t *Target) WriteServices(ctx context.Context, w io.Writer, asJSON bool) error {
	all, err := t.ServiceStatus(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(w, "processes", all)
	}
	table := report.NewTable("process", "state", "pid", "release")
	for _, p := range all {
		table.Row(p.Name, p.State, pidText(p.PID), p.Release)
	}
	return table.Write(w)
}

// WriteBackups prints the backups on the target and, behind them, the databases
// that were kept on the server.
func (t *Target) WriteBackups(ctx context.Context, w io.Writer, asJSON bool) error {
	all, err := t.Backups(ctx)
	kept, keptErr := t.KeptDatabases(ctx)
	if keptErr != nil {
		err = errors.Join(err, fmt.Errorf("the kept databases could not be listed: %w", keptErr))
	}
	if asJSON {
		return errors.Join(report.JSON(w, map[string]any{"version": formatVersion, "backups": all, "kept": kept}), err)
	}
	table := report.NewTable("backup", "age", "size", "rows", "Alembic head", "proven", "purpose")
	for _, m := range all {
		table.Row(m.ID, report.Duration(t.Now().Sub(m.Created)), report.Bytes(m.Database.Size), report.Count(m.Database.Total()),
			join(m.Database.AlembicHeads), proofText(m.Proof), m.Purpose)
	}
	if writeErr := table.Write(w); writeErr != nil {
		return errors.Join(writeErr, err)
	}
	if len(kept) > 0 {
		fmt.Fprintln(w)
		err = errors.Join(err, keptTable(kept, t.Now()).Write(w))
	}
	return err
}

// WriteVerifiedBackup checks a backup again, with restore into a scratch
// database too, and prints what it holds.
func (t *Target) WriteVerifiedBackup(ctx context.Context, w io.Writer, id string, restore, asJSON bool) error {
	const name = "backup:verify"
	began := time.Now()
	t.Observer.Started(name)
	m, err := t.VerifyBackup(ctx, id, BackupCheck{Restore: restore, Progress: func(done, total int64, text string) {
		t.Observer.Progress(name, done, total, text)
	}})
	if err != nil {
		t.Observer.Finished(name, report.Failed, time.Since(began), firstLine(err.Error()))
		return err
	}
	t.Observer.Finished(name, report.Done, time.Since(began), "proven: "+proofText(m.Proof))
	if asJSON {
		return writeJSON(w, "backup", m)
	}
	fmt.Fprintf(w, "backup %s is good: %s, %d tables, %s rows, sha256 %s\n", m.ID,
		report.Bytes(m.Database.Size), len(m.Database.Rows), report.Count(m.Database.Total()), m.Database.SHA256)
	return nil
}

// WriteWindow prints the maintenance window and whether a cut-over fits now.
func (t *Target) WriteWindow(ctx context.Context, w io.Writer, asJSON bool) error {
	needs := t.expectedCutOver(ctx)
	window := t.Config.Window
	opening, closed := window.At(t.Now(), needs)
	if asJSON {
		return writeJSON(w, "window", map[string]any{
			"preferred": window.Preferred.String(), "fallback": window.Fallback.String(), "maximum": window.Maximum.String(),
			"enforced": window.Enforce, "expected_seconds": needs.Seconds(), "open": closed == nil, "opening": openingText(opening),
		})
	}
	fmt.Fprintf(w, "preferred  %s UTC\nfallback   %s UTC\nmaximum    %s\ncut-over   about %s\n",
		window.Preferred, window.Fallback, window.Maximum, report.Duration(needs))
	fmt.Fprintf(w, "now        %s\n", t.windowLine(ctx))
	for _, at := range t.Config.Backup.Schedule {
		fmt.Fprintf(w, "backup     every day at %s UTC, by your cron: backup:create\n", at)
	}
	return nil
}

// openingText is one opening of the window, for people.
func openingText(o config.Opening) string {
	if o.From.IsZero() {
		return "never"
	}
	return fmt.Sprintf("%s, %s to %s UTC", o.Name, o.From.UTC().Format("2006-01-02 15:04"), o.To.UTC().Format("15:04"))
}

// WriteContacts prints whom to call.
func (t *Target) WriteContacts(w io.Writer, asJSON bool) error {
	if asJSON {
		return writeJSON(w, "contacts", t.Config.Contacts)
	}
	_, err := io.WriteString(w, ContactsText(t.Config))
	return err
}

// ContactsText is whom to call, in order.
func ContactsText(c *config.Config) string {
	var b strings.Builder
	for _, contact := range c.Contacts.All() {
		fmt.Fprintf(&b, "%-11s %s", contact.Level, contact.Role)
		for _, detail := range []string{contact.Name, contact.Phone, contact.Email, contact.Chat} {
			if detail != "" {
				fmt.Fprintf(&b, ", %s", detail)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// WriteCriteria looks at the service and prints the success criteria.
func (t *Target) WriteCriteria(ctx context.Context, w io.Writer, asJSON bool) error {
	criteria, judgement := t.VerifyCriteria(ctx)
	if asJSON {
		return errors.Join(writeJSON(w, "criteria", criteria), judgement)
	}
	table := report.NewTable("", "criterion", "met", "evidence")
	for _, c := range criteria {
		met := "no"
		if c.Met {
			met = "yes"
		}
		table.Row(strconv.Itoa(c.Number), c.Text, met, c.lines[0])
		for _, line := range c.lines[1:] {
			table.Row("", "", "", line)
		}
	}
	return errors.Join(table.Write(w), judgement)
}
