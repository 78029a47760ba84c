package checklist

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/bitfield/script"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// verifyLogs is “Verify logs”, and it ends: it judges what was written since
// the cut-over.
var verifyLogs = Check{
	Name:    "verify:logs",
	Command: "tail -f logs/etf_service.log",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		dir := path.Join(t.sharedDir(), "logs")
		names, err := t.Host.List(ctx, dir)
		if err != nil {
			return []report.Finding{unseen(dir, err, "the service writes its logs there")}
		}
		var files, lines, errorLines int
		groups := map[string]int{}
		for _, name := range names {
			if !strings.Contains(name, ".log") {
				continue
			}
			content, err := t.Host.ReadFile(ctx, path.Join(dir, name))
			if err != nil {
				return []report.Finding{unseen(name, err, "")}
			}
			n, errs, err := judgeLog(string(content), s.Since, groups)
			if err != nil {
				return []report.Finding{unseen(name, err, "")}
			}
			files, lines, errorLines = files+1, lines+n, errorLines+errs
		}
		looked := "log lines since " + s.Since.UTC().Format(time.RFC3339)
		if files == 0 {
			return []report.Finding{unseen(dir, errors.New("there is no log file"), "the service writes its logs there: see LOG_DIR in .env")}
		}
		if errorLines > t.Config.Thresholds.LogErrors {
			return []report.Finding{fault(looked, fmt.Sprintf("%d of %d are errors, %d may be: %s", errorLines, lines, t.Config.Thresholds.LogErrors, topOf(groups)), "see "+dir)}
		}
		return []report.Finding{found(looked, "%d, %d of them errors", lines, errorLines)}
	},
}

// judgeLog counts the lines of JSON at or after since, and the errors among
// them by message. A log of which no line can be read is an error.
func judgeLog(content string, since time.Time, groups map[string]int) (lines, errorLines int, err error) {
	read := 0
	_, err = script.Echo(content).FilterLine(func(line string) string {
		var rec struct {
			Time    string `json:"time"`
			Level   string `json:"level"`
			Message string `json:"message"`
		}
		if json.Unmarshal([]byte(line), &rec) != nil {
			return ""
		}
		at, err := parseLogTime(rec.Time)
		if err != nil {
			return ""
		}
		if read++; at.Before(since) {
			return ""
		}
		lines++
		if rec.Level == "ERROR" || rec.Level == "CRITICAL" {
			errorLines++
			groups[firstLine(rec.Message)]++
		}
		return ""
	}).String()
	if err == nil && read == 0 && strings.TrimSpace(content) != "" {
		err = errors.New("none of its lines is JSON with a time, as logging.conf writes them")
	}
	return lines, errorLines, err
}

// parseLogTime reads the forms that Python's logging writes; without a zone it is UTC.
func parseLogTime(s string) (time.Time, error) {
	var err error
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05,000", "2006-01-02 15:04:05"} {
		var at time.Time
		if at, err = time.Parse(form, s); err == nil {
			return at, nil
		}
	}
	return time.Time{}, err
}

func topOf(groups map[string]int) string {
	var all []string
	for message, n := range groups {
		all = append(all, fmt.Sprintf("%d × %s", n, message))
	}
	slices.Sort(all)
	slices.Reverse(all)
	return strings.Join(all[:min(len(all), 3)], "; ")
}

// verifyPerformance is “Monitor performance”.
var verifyPerformance = Check{
	Name:    "verify:performance",
	Command: "SELECT * FROM pg_stat_activity WHERE application_name = 'etf_service';",
	look: func(ctx context.Context, t *Target, _ Subject) []report.Finding {
		looked := "sessions of " + t.Config.Database.ApplicationName
		conn, err := t.connect(ctx, "etf-deploy")
		if err != nil {
			return []report.Finding{unseen(looked, err, "see pre:connections")}
		}
		defer conn.Close(context.WithoutCancel(ctx))
		sessions, err := postgres.Sessions(ctx, conn, t.Config.Database.ApplicationName)
		if err != nil {
			return []report.Finding{unseen(looked, err, "")}
		}
		if len(sessions) == 0 {
			return []report.Finding{fault(looked, "there is none", "the service must set application_name to "+t.Config.Database.ApplicationName+", or it is not connected")}
		}
		return []report.Finding{found(looked, "%d", len(sessions))}
	},
}
