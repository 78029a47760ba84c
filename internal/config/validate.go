package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

func (v *validator) config(c *Config) {
	v.oneOf("host", c.Host, "local")
	v.absolute("root", c.Root)
	if c.Root == "/" {
		v.fault("root", "is the root of the file system; give the service a folder of its own")
	}
	v.source(c)
	v.services(c)
	v.servers(c)
	v.api(c.API)
	v.env(&c.Env, c.Root)
	v.logs(c)
	v.thresholds(c)
	v.data(c.Data)
	v.monitoring(c.Monitoring)
	v.alerts(c.Alerts)
	v.contacts(c)
	v.window(c.Window)
	v.operation(c.Operation)
	v.backup(c)
}

func (v *validator) source(c *Config) {
	v.word("source.origin", c.Source.Origin)
	v.word("source.ref", c.Source.Ref)
	v.relative("source.subdir", c.Source.Subdir)
	v.absolute("python.interpreter", c.Python.Interpreter)
	v.relative("python.requirements", c.Python.Requirements)
	v.required("python.requirements", c.Python.Requirements)
	v.url("python.package_index", c.Python.PackageIndex, false, "http", "https", "file")
	v.positive("python.timeout", c.Python.Timeout)
}

// program is what supervisor takes for a name: a colon would address a group.
var program = regexp.MustCompile(`^[A-Za-z0-9_.][A-Za-z0-9_.-]*$`)

func (v *validator) services(c *Config) {
	v.absolute("services.socket", c.Services.Socket)
	names := map[string]string{}
	for _, s := range []struct{ key, name string }{{"services.api", c.Services.API},
		{"services.worker", c.Services.Worker}, {"services.beat", c.Services.Beat}} {
		if !program.MatchString(s.name) {
			v.fault(s.key, "%q is not the name of a supervisor program", s.name)
		} else if other, twice := names[s.name]; twice {
			v.fault(s.key, "%q is named by %s too; each has a program of its own", s.name, other)
		}
		names[s.name] = s.key
	}
	v.word("celery.app", c.Celery.App)
	v.word("celery.queue", c.Celery.Queue)
	if len(c.Celery.Nodes) == 0 {
		v.fault("celery.nodes", "is missing; list the workers that must answer, like worker0@etf")
	}
	v.each("celery.nodes", c.Celery.Nodes, func(key, node string) {
		name, at, ok := strings.Cut(node, "@")
		if !ok || name == "" || at == "" || strings.ContainsAny(node, " ,") {
			v.fault(key, "%q is not the name of a node; write it like worker0@etf", node)
		}
	})
	if len(c.Celery.Tasks) == 0 {
		v.fault("celery.tasks", "is empty: nothing would be waited for; list how the names of tasks that write ETF data begin, like app.tasks.")
	}
	v.each("celery.tasks", c.Celery.Tasks, v.word)
	v.positive("celery.drain", c.Celery.Drain)
	v.positive("celery.start", c.Celery.Start)
	for _, entry := range slices.Sorted(maps.Keys(c.Celery.Evidence)) {
		words := strings.Fields(strings.ToLower(c.Celery.Evidence[entry]))
		if len(words) == 0 || words[0] != "select" && words[0] != "with" {
			v.fault("celery.evidence."+entry, "is not a query; write one that says when it last ran, like select max(created_at) from etf_updates")
		}
	}
}

// role is a name that PostgreSQL takes without quotes, so that it is the same
// in a URL, a GRANT and a manifest.
var role = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

func (v *validator) servers(c *Config) {
	db := v.url("database.url", c.Database.URL, true, "postgresql", "postgres")
	if db != nil {
		inURL := strings.TrimPrefix(db.Path, "/")
		if c.Database.Name == "" {
			c.Database.Name = inURL
		}
		switch {
		case inURL == "":
			v.fault("database.url", "names no database; write it after the port, like …:5432/goldfinch")
		case inURL != c.Database.Name:
			v.fault("database.name", "%q is not the database of url, %q", c.Database.Name, inURL)
		}
		if db.User.Username() == c.Database.Role && c.Database.Role != "" {
			v.fault("database.role", "%q is the role of url too; the application must not own its tables", c.Database.Role)
		}
	}
	if !role.MatchString(c.Database.Role) {
		v.fault("database.role", "%q is not the name of a role; write the one that the application logs in with", c.Database.Role)
	}
	v.required("database.application_name", c.Database.ApplicationName)
	if c.Database.Tools != "" {
		v.absolute("database.tools", c.Database.Tools)
	}
	v.positive("database.lock_timeout", c.Database.LockTimeout)
	v.positive("database.statement_timeout", c.Database.StatementTimeout)
	v.between("database.jobs", c.Database.Jobs, 1, 64)
	v.cache(c.Cache, v.url("cache.url", c.Cache.URL, true, "redis", "rediss"), v.url("broker_url", c.BrokerURL, true, "amqp", "amqps", "redis", "rediss"))
	v.url("price_source_url", c.PriceSourceURL, false, "http", "https")
}

func (v *validator) cache(c Cache, at, broker *url.URL) {
	v.word("cache.pause_key", c.PauseKey)
	if c.WholeDatabase {
		if c.Prefix != "" {
			v.fault("cache.prefix", "%q is not empty, though cache.whole_database has every key cleared; write prefix: \"\" beside it", c.Prefix)
		}
		if at != nil && broker != nil && at.Host == broker.Host && redisDatabase(at) == redisDatabase(broker) {
			v.fault("cache.whole_database", "broker_url names the same database, whose queues would be in it; give the cache one of its own, or a prefix")
		}
		return
	}
	// An empty prefix, or a pattern, would let cache:clear reach everything.
	v.word("cache.prefix", c.Prefix)
	if strings.ContainsAny(c.Prefix, "*?[]\\") {
		v.fault("cache.prefix", "%q is a pattern; write the beginning of the keys itself", c.Prefix)
	}
	if c.Prefix != "" && strings.HasPrefix(c.PauseKey, c.Prefix) {
		v.fault("cache.pause_key", "begins with cache.prefix and would be cleared with the cache")
	}
}

// redisDatabase is the number of the database, 0 when the URL names none.
func redisDatabase(u *url.URL) string { return cmp.Or(strings.Trim(u.Path, "/"), "0") }

func (v *validator) api(a API) {
	v.url("api.url", a.URL, true, "http", "https")
	slash := func(key, p string) {
		if !strings.HasPrefix(p, "/") {
			v.fault(key, "%q is not a path; begin it with a slash", p)
		}
	}
	slash("api.health", a.Health)
	if a.Metrics != "" {
		slash("api.metrics", a.Metrics)
	}
	v.endpoints(a.Endpoints, slash)
	if a.Canary != "" {
		v.word("api.canary", a.Canary)
	}
	v.required("api.release_field", a.ReleaseField)
	v.required("api.release_header", a.ReleaseHeader)
}

func (v *validator) endpoints(all []Endpoint, slash func(key, p string)) {
	var paths []string
	for _, e := range all {
		paths = append(paths, e.Path)
	}
	v.each("api.endpoints", paths, slash)
	for i, e := range all {
		key := fmt.Sprintf("api.endpoints[%d]", i)
		if e.Status != 0 {
			v.between(key+".status", e.Status, 100, 599)
		}
		if e.Latency < 0 {
			v.positive(key+".latency", e.Latency)
		}
		for _, field := range slices.Sorted(maps.Keys(e.JSON)) {
			if slices.Contains(strings.Split(field, "."), "") {
				v.fault(key+".json."+field, "%q is not a path of names; write it like items.0.id", field)
			}
		}
	}
}

func (v *validator) logs(c *Config) {
	if len(c.Logs.Files) == 0 {
		v.fault("logs.files", "is empty: nothing would be looked at; list patterns like shared/logs/*.log*")
	}
	v.each("logs.files", c.Logs.Files, func(key, pattern string) {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" || path.Clean(pattern) != pattern || strings.HasPrefix(pattern, "..") {
			v.fault(key, "%q is not the pattern of a path; write it like shared/logs/*.log*", pattern)
		}
	})
	for i, pattern := range c.Logs.Files {
		c.Logs.Files[i] = abs(c.Root, pattern)
	}
}

func (v *validator) thresholds(c *Config) {
	t := c.Thresholds
	metric := regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	v.each("metrics.required", c.Metrics.Required, func(key, name string) {
		if !metric.MatchString(name) {
			v.fault(key, "%q is not the name of a metric", name)
		}
	})
	for _, rule := range slices.Sorted(maps.Keys(t.Tolerate)) {
		v.between("thresholds.tolerate."+rule, t.Tolerate[rule], 0, 1<<31)
	}
	v.positive("thresholds.stuck_after", t.StuckAfter)
	v.positive("thresholds.errors_after", t.ErrorsAfter)
	v.positive("thresholds.missing_after", t.MissingAfter)
	v.between("thresholds.gap", t.Gap, 1, 1000)
	v.between("thresholds.rates_gap", t.RatesGap, 1, 365)
	v.between("thresholds.log_errors", t.LogErrors, 0, 1<<31)
	v.positive("thresholds.latency", t.Latency)
	if t.Slower <= 1 {
		v.fault("thresholds.slower", "is %g; write a number above 1, like 2 for twice as long", t.Slower)
	}
	v.between("thresholds.disk_reserve", int(t.DiskReserve), 0, 1<<62)
	v.between("thresholds.large_table", int(t.LargeTable), 0, 1<<62)
	v.positive("thresholds.backup_age", t.BackupAge)
	v.positive("thresholds.longest_task", t.LongestTask)
	v.positive("thresholds.task_delay", t.TaskDelay)
	v.fraction("thresholds.price_jump", t.PriceJump)
	v.fraction("thresholds.price_correction", t.PriceCorrection)
	if t.PriceCorrection > t.PriceJump {
		v.fault("thresholds.price_correction", "%g is more than thresholds.price_jump, %g; a correction is the smaller change", t.PriceCorrection, t.PriceJump)
	}
	v.positive("timeouts.connect", c.Timeouts.Connect)
	v.positive("timeouts.check", c.Timeouts.Check)
	v.positive("timeouts.verify", c.Timeouts.Verify)
}

var (
	email = regexp.MustCompile(`^[^\s@,;<>]+@[^\s@,;<>]+$`)
	phone = regexp.MustCompile(`^\+?[0-9][0-9 ()/.-]{4,}$`)
)

func (v *validator) contacts(cfg *Config) {
	names := map[string]string{}
	for _, c := range cfg.Contacts.All() {
		key := "contacts." + c.Level
		v.required(key+".name", c.Name)
		v.required(key+".role", c.Role)
		if c.Email != "" && !email.MatchString(c.Email) {
			v.fault(key+".email", "%q is not an e-mail address", c.Email)
		}
		if c.Phone != "" && !phone.MatchString(c.Phone) {
			v.fault(key+".phone", "%q is not a phone number", c.Phone)
		}
		same := strings.ToLower(strings.Join(strings.Fields(c.Name), " "))
		if other, twice := names[same]; twice && same != "" {
			v.fault(key+".name", "%q is the %s contact too; escalating to the same person helps nobody", c.Name, other)
		}
		names[same] = c.Level
		v.receiver(key, c.Contact, cfg)
	}
}

func (v *validator) window(w Window) {
	v.positive("window.maximum", w.Maximum)
	v.positive("window.cut_over", w.CutOver)
	if w.Preferred == (Span{}) {
		v.fault("window.preferred", "is missing; write it like 02:00-04:00 (UTC)")
	}
	if w.Fallback == w.Preferred && w.Fallback != (Span{}) {
		v.fault("window.fallback", "is the preferred one; write another or leave it out")
	}
	for _, o := range []struct {
		key string
		Span
	}{{"preferred", w.Preferred}, {"fallback", w.Fallback}} {
		if o.Span == (Span{}) {
			continue
		}
		if o.Length() > w.Maximum {
			v.fault("window."+o.key, "%s lasts %s, longer than window.maximum, %s", o.Span, o.Length(), w.Maximum)
		} else if w.CutOver > o.Length() {
			v.fault("window.cut_over", "%s does not fit into window.%s, %s", w.CutOver, o.key, o.Span)
		}
	}
}

// minimumExpiry leaves a holder's heartbeat, a sixth of it, time to be written
// on a slow disk.
const minimumExpiry = 3 * time.Second

func (v *validator) operation(o Operation) {
	v.positive("operation.expiry", o.Expiry)
	if o.Expiry > 0 && o.Expiry < minimumExpiry {
		v.fault("operation.expiry", "%s is too short for a heartbeat; write %s or more", o.Expiry, minimumExpiry)
	}
	v.positive("operation.parked", o.Parked)
	v.oneOf("operation.interrupted", o.Interrupted, InterruptedStop, InterruptedResume, InterruptedUndo)
}

func (v *validator) backup(c *Config) {
	v.oneOf("backup.verify", c.Backup.Verify, VerifyContents, VerifyRestore)
	var times []string
	for _, t := range c.Backup.Schedule {
		times = append(times, t.String())
	}
	v.each("backup.schedule", times, func(string, string) {})
	v.between("retention.releases", c.Retention.Releases, 2, 1000)
	v.between("retention.backups", c.Retention.Backups, 1, 1000)
	if c.Retention.Kept < minimumKept {
		v.fault("retention.kept", "%s is too short to miss something in a replaced database; write %s or more", c.Retention.Kept, minimumKept)
	}
}

// minimumKept is how long a replaced database stays at least: a day, so that
// whoever comes to work after an incident at night finds it.
const minimumKept = 24 * time.Hour
