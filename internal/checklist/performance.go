package checklist

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// verifyPerformance is “Monitor performance”: what the service does in the
// database, and how long its API takes to answer against before.
var verifyPerformance = Check{
	Name:    "verify:performance",
	Command: "SELECT * FROM pg_stat_activity WHERE application_name = 'etf_service';",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		return lookAll(ctx, t,
			look{"sessions of " + t.Config.Database.ApplicationName, 0, lookSessions},
			look{"latency of the API", t.latencyTime(), func(ctx context.Context, t *Target) []report.Finding { return t.lookLatency(ctx, s) }},
		)
	},
}

func lookSessions(ctx context.Context, t *Target) []report.Finding {
	looked := "sessions of " + t.Config.Database.ApplicationName
	cannot := func(err error) []report.Finding {
		return []report.Finding{marked(unseen(looked, err, "see pre:connections"), "sessions", nil)}
	}
	conn, err := t.connect(ctx, "etf-deploy")
	if err != nil {
		return cannot(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	sessions, err := postgres.Sessions(ctx, conn, t.Config.Database.ApplicationName)
	if err != nil {
		return cannot(err)
	}
	if len(sessions) == 0 {
		return []report.Finding{marked(fault(looked, "there is none", "the service must set application_name to "+t.Config.Database.ApplicationName+", or it is not connected"), "sessions", map[string]int64{"looked": 0})}
	}
	room, err := postgres.LimitsOfSessions(ctx, conn, t.Config.Database.Role)
	if err != nil {
		return cannot(err)
	}
	findings := []report.Finding{t.judgeSessions(sessions, room), t.judgeTransactions(sessions)}
	blockers, err := postgres.Sessions(ctx, conn, "") // whoever holds the lock may be somebody else
	if err != nil {
		return append(findings, cannot(err)...)
	}
	return append(findings, t.judgeLocks(sessions, blockers))
}

// judgeSessions holds the number of sessions against the tightest limit.
func (t *Target) judgeSessions(sessions []postgres.Session, room postgres.SessionLimits) report.Finding {
	looked := "sessions of " + t.Config.Database.ApplicationName
	counts := map[string]int64{"looked": int64(len(sessions)), "server": int64(room.Sessions), "server_limit": int64(room.Server)}
	states := map[string]int{}
	for _, s := range sessions {
		states[s.State]++
		counts[stateKey(s.State)]++
	}
	if n := states[""]; n > 0 {
		return marked(unseen(looked, fmt.Errorf("the states of %d of %d cannot be seen", n, len(sessions)), "GRANT pg_read_all_stats to the role of database.url"), "sessions", counts)
	}
	var parts []string
	for _, state := range slices.Sorted(maps.Keys(states)) {
		parts = append(parts, fmt.Sprintf("%d %s", states[state], state))
	}
	text := fmt.Sprintf("%d: %s; %d of %d on the server", len(sessions), strings.Join(parts, ", "), room.Sessions, room.Server)
	for _, limit := range []struct {
		of        string
		used, may int
	}{{"the server", room.Sessions, room.Server}, {"role " + t.Config.Database.Role, len(sessions), room.Role}, {"the database", len(sessions), room.Database}} {
		if limit.may > 0 && limit.used*10 >= limit.may*9 {
			return marked(warn(looked, fmt.Sprintf("%s; %s takes %d at most", text, limit.of, limit.may), "raise the limit, or make the service's pools smaller"), "sessions", counts)
		}
	}
	return marked(found(looked, "%s", text), "sessions", counts)
}

func stateKey(state string) string {
	return strings.NewReplacer(" ", "_", "(", "", ")", "").Replace("state_" + state)
}

// judgeTransactions names the longest transaction and query. A transaction that
// lasts longer than the longest task belongs to none that runs, or to one that
// hangs, and keeps VACUUM and migrations waiting.
func (t *Target) judgeTransactions(sessions []postgres.Session) report.Finding {
	const looked = "transactions and queries"
	limit := t.Config.Thresholds.LongestTask
	transaction := slices.MaxFunc(sessions, func(a, b postgres.Session) int { return int(a.Transaction - b.Transaction) })
	query := slices.MaxFunc(sessions, func(a, b postgres.Session) int { return int(a.Query - b.Query) })
	counts := map[string]int64{"longest_transaction_ms": transaction.Transaction.Milliseconds(), "longest_query_ms": query.Query.Milliseconds()}
	var samples []string
	idle := int64(0)
	for _, s := range sessions {
		if s.Transaction > limit {
			samples = append(samples, sessionText(s))
			if strings.HasPrefix(s.State, "idle in transaction") {
				idle++
			}
		}
	}
	counts["violations"], counts["idle_in_transaction"] = int64(len(samples)), idle
	if len(samples) > 0 {
		return marked(warn(looked, fmt.Sprintf("%d transactions are open for more than %s, %d of them idle: %s", len(samples), report.Duration(limit), idle, join(samples[:min(len(samples), 3)])),
			"see what these sessions do; thresholds.longest_task is the limit"), "transactions", counts, samples...)
	}
	if transaction.Transaction == 0 {
		return marked(found(looked, "no transaction is open"), "transactions", counts)
	}
	text := "longest transaction: " + sessionText(transaction)
	if query.Query > 0 {
		text += "; longest query: " + report.Duration(query.Query)
	}
	return marked(found(looked, "%s", text), "transactions", counts)
}

// judgeLocks says who waits for whom. A moment's wait is what locks are for.
func (t *Target) judgeLocks(sessions, all []postgres.Session) report.Finding {
	const looked = "waits and locks"
	limit := t.Config.Thresholds.Latency
	var waits, samples []string
	blocked := int64(0)
	for _, s := range sessions {
		if s.Wait != "" && !slices.Contains(waits, s.Wait) {
			waits = append(waits, s.Wait)
		}
		if len(s.BlockedBy) == 0 {
			continue
		}
		if blocked++; s.Query < limit {
			continue
		}
		for _, pid := range s.BlockedBy {
			who := fmt.Sprintf("session %d, which has ended", pid)
			if pid == 0 {
				who = "a prepared transaction"
			}
			if i := slices.IndexFunc(all, func(o postgres.Session) bool { return o.PID == pid }); i >= 0 {
				who = sessionText(all[i])
			}
			samples = append(samples, fmt.Sprintf("%s waits for %s", sessionText(s), who))
		}
	}
	counts := map[string]int64{"blocked": blocked, "violations": int64(len(samples)), "waits": int64(len(waits))}
	switch {
	case len(samples) > 0:
		return marked(warn(looked, join(samples[:min(len(samples), 3)]), "end the transaction that holds the lock, or wait for it"), "locks", counts, samples...)
	case len(waits) > 0:
		return marked(found(looked, "nobody is blocked for long; waits: %s", join(waits)), "locks", counts)
	}
	return marked(found(looked, "nobody waits"), "locks", counts)
}

// sessionText describes a session without what its statement holds.
func sessionText(s postgres.Session) string {
	text := fmt.Sprintf("session %d of %s (%s), %s", s.PID, s.User, s.Application, s.State)
	if s.Transaction > 0 {
		text += " for " + report.Duration(max(s.Transaction, s.Query).Truncate(time.Millisecond))
	}
	if sql := withoutLiterals(s.Statement); sql != "" {
		text += ": " + sql
	}
	return text
}

// literals are what a statement may hold of data or passwords, also where the
// statement was cut off within one, and comments.
var literals = regexp.MustCompile(`(?s)--[^\n]*|/\*.*?(\*/|$)|(?i:\b[ebxnu]&?)?'(?:[^'\\]|''|\\.)*('|$)|(\$[A-Za-z_]*\$).*|\b\d+(\.\d+)?\b`)

// withoutLiterals shortens a statement to its form.
func withoutLiterals(sql string) string {
	sql = literals.ReplaceAllStringFunc(sql, func(s string) string {
		if strings.HasPrefix(s, "--") || strings.HasPrefix(s, "/*") {
			return " "
		}
		return "?"
	})
	sql = strings.Join(strings.Fields(sql), " ")
	if r := []rune(sql); len(r) > 120 {
		return string(r[:119]) + "…"
	}
	return sql
}
