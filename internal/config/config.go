// Package config reads deploy.yaml into one validated value. Every fault of
// the file is reported at once, with its key path; secrets come by reference
// only, and what they resolve to is registered for redaction.
package config

import (
	"cmp"
	"os"
	"path"
	"time"
)

// DefaultEnvironment is what runs when ETF_ENV says nothing.
const DefaultEnvironment = "sandbox"

// Environment is the environment that the process is asked to work on: the
// variable ETF_ENV, or DefaultEnvironment.
func Environment() string {
	if name := os.Getenv("ETF_ENV"); name != "" {
		return name
	}
	return DefaultEnvironment
}

// SandboxFolder is where the sandbox lies: the variable ETF_SANDBOX, or
// .sandbox in the working folder.
func SandboxFolder() string { return cmp.Or(os.Getenv("ETF_SANDBOX"), ".sandbox") }

// Config is one environment of deploy.yaml. The keys are explained there.
// Durations and times are of UTC; paths are those of the target host.
type Config struct {
	Environment string `yaml:"-"` // its name in deploy.yaml
	File        string `yaml:"-"` // where it was read from

	Host           string     `yaml:"host"`      // "local"
	Root           string     `yaml:"root"`      // absolute
	Variables      string     `yaml:"variables"` // file of NAME=value lines for ${NAME}; may be empty
	Confirm        bool       `yaml:"confirm"`   // ask before anything changes
	Source         Source     `yaml:"source"`
	Python         Python     `yaml:"python"`
	Services       Services   `yaml:"services"`
	Celery         Celery     `yaml:"celery"`
	Database       Database   `yaml:"database"`
	Cache          Cache      `yaml:"cache"`
	BrokerURL      string     `yaml:"broker_url"`
	PriceSourceURL string     `yaml:"price_source_url"`
	API            API        `yaml:"api"`
	Env            Env        `yaml:"env"`
	Metrics        Metrics    `yaml:"metrics"`
	Logs           Logs       `yaml:"logs"`
	Thresholds     Thresholds `yaml:"thresholds"`
	Data           Data       `yaml:"data"`
	Timeouts       Timeouts   `yaml:"timeouts"`
	Monitoring     Monitoring `yaml:"monitoring"`
	Alerts         Alerts     `yaml:"alerts"`
	Contacts       Contacts   `yaml:"contacts"`
	Window         Window     `yaml:"window"`
	Operation      Operation  `yaml:"operation"`
	Backup         Backup     `yaml:"backup"`
	Retention      Retention  `yaml:"retention"`
}

// Source is where the service's code comes from.
type Source struct {
	Origin string `yaml:"origin"` // git URL or absolute path
	Ref    string `yaml:"ref"`    // what is deployed when no -ref is given
	Subdir string `yaml:"subdir"` // folder of the service in the repository; may be empty
}

// Python is how a release gets its virtual environment.
type Python struct {
	Interpreter  string        `yaml:"interpreter"`   // absolute
	Requirements string        `yaml:"requirements"`  // relative to Source.Subdir
	PackageIndex string        `yaml:"package_index"` // URL; empty: pip's own configuration
	Timeout      time.Duration `yaml:"timeout"`       // of the whole installation
}

// Services names supervisor's programs.
type Services struct {
	Socket string `yaml:"socket"` // supervisor's unix socket
	API    string `yaml:"api"`    // its processes are restarted in turn
	Worker string `yaml:"worker"`
	Beat   string `yaml:"beat"`
}

// Celery is the application and its workers.
type Celery struct {
	App   string        `yaml:"app"`
	Nodes []string      `yaml:"nodes"` // worker0@etf: who must answer a ping
	Queue string        `yaml:"queue"`
	Tasks []string      `yaml:"tasks"` // beginnings of the names of tasks that write ETF data
	Drain time.Duration `yaml:"drain"` // how long running tasks may take to end
	Start time.Duration `yaml:"start"` // how long workers may take to answer

	Evidence map[string]string `yaml:"evidence"` // entry of the timetable → SQL query of when it last ran
}

// Database is the service's PostgreSQL database.
type Database struct {
	URL              string        `yaml:"url"`              // libpq form, of the owning role
	Name             string        `yaml:"name"`             // empty in the file: the one of URL
	Role             string        `yaml:"role"`             // application role
	ApplicationName  string        `yaml:"application_name"` // of the service's sessions
	Tools            string        `yaml:"tools"`            // folder of pg_dump and pg_restore; empty: found by version
	LockTimeout      time.Duration `yaml:"lock_timeout"`     // of migrations
	StatementTimeout time.Duration `yaml:"statement_timeout"`
	Jobs             int           `yaml:"jobs"` // of pg_dump and pg_restore
}

// Cache is the service's Redis.
type Cache struct {
	URL           string `yaml:"url"`
	Prefix        string `yaml:"prefix"`         // of the keys that may be cleared
	WholeDatabase bool   `yaml:"whole_database"` // Prefix is empty, and every key may be cleared
	PauseKey      string `yaml:"pause_key"`      // while it exists, updates must not start
}

// API is the service's HTTP side.
type API struct {
	URL           string     `yaml:"url"`
	Health        string     `yaml:"health"`
	Metrics       string     `yaml:"metrics"` // empty: the service has none
	Endpoints     []Endpoint `yaml:"endpoints"`
	Canary        string     `yaml:"canary"` // the ETF that verify:update updates; empty: the one that was updated last
	ReleaseField  string     `yaml:"release_field"`
	ReleaseHeader string     `yaml:"release_header"`
}

// An Endpoint is a page of the API and what it has to answer. In the file one
// that is a path alone has to answer 200.
type Endpoint struct {
	Path     string            `yaml:"path"`
	Status   int               `yaml:"status"`   // 0: 200
	Latency  time.Duration     `yaml:"latency"`  // 0: thresholds.latency
	Contains string            `yaml:"contains"` // text of the answer
	JSON     map[string]string `yaml:"json"`     // dotted path → value of a field; Present: any but null
}

// Present is the value of a field of Endpoint.JSON that has to be there,
// whatever it is.
const Present = "*"

// Metrics is what the service must expose.
type Metrics struct {
	Required []string `yaml:"required"`
}

// Logs are what the service writes.
type Logs struct {
	Files []string `yaml:"files"` // patterns, relative to Config.Root or absolute
}

// Thresholds are the limits that findings are judged against.
type Thresholds struct {
	Tolerate     map[string]int `yaml:"tolerate"`      // data rule → rows that may break it
	StuckAfter   time.Duration  `yaml:"stuck_after"`   // an update in processing for longer
	ErrorsAfter  time.Duration  `yaml:"errors_after"`  // an error of an update that is unresolved for longer
	MissingAfter time.Duration  `yaml:"missing_after"` // a date that an update noted as missing, not filled for longer
	Gap          int            `yaml:"gap"`           // working days in a row without a price of an ETF
	RatesGap     int            `yaml:"rates_gap"`     // days that a price may be newer than its rate
	LogErrors    int            `yaml:"log_errors"`    // lines of ERROR and above since the cut-over
	Latency      time.Duration  `yaml:"latency"`       // of one API answer
	Slower       float64        `yaml:"slower"`        // the API's answers may take so many times as long as before
	DiskReserve  Bytes          `yaml:"disk_reserve"`  // must stay free after backup and release
	LargeTable   Bytes          `yaml:"large_table"`   // a migration that locks one this large is worth a warning
	BackupAge    time.Duration  `yaml:"backup_age"`    // of the newest proven backup
	LongestTask  time.Duration  `yaml:"longest_task"`  // supervisor must not kill before this
	TaskDelay    time.Duration  `yaml:"task_delay"`    // of a periodic task after it was due

	PriceJump       float64 `yaml:"price_jump"`       // fraction; a new price that moved further without a split is wrong
	PriceCorrection float64 `yaml:"price_correction"` // fraction; a past day's price that changed further is wrong
}

// Data is what a team adds to the data rules and takes from them.
type Data struct {
	Off    []string   `yaml:"off"`    // rules that do not look
	Closed []string   `yaml:"closed"` // days on which nothing trades: 2026-12-24, or 12-24 of every year
	Rules  []DataRule `yaml:"rules"`
}

// A DataRule is a rule of the team's own. SQL is one SELECT, whose rows break
// the rule; the first column names them.
type DataRule struct {
	Name     string `yaml:"name"`
	Title    string `yaml:"title"`    // what holds when nothing is broken
	Severity string `yaml:"severity"` // fault or warning
	SQL      string `yaml:"sql"`
}

// Timeouts bound what only looks.
type Timeouts struct {
	Connect time.Duration `yaml:"connect"` // to a server
	Check   time.Duration `yaml:"check"`   // one check
	Verify  time.Duration `yaml:"verify"`  // the update that travels through the service
}

// Monitoring is where Prometheus and Alertmanager answer, the files of this
// machine that say what they should have loaded, each of which may be empty,
// and what Prometheus collects.
type Monitoring struct {
	Prometheus   string        `yaml:"prometheus"`
	Alertmanager string        `yaml:"alertmanager"`
	Rules        string        `yaml:"rules"`      // rules file of Prometheus
	Routes       string        `yaml:"routes"`     // alertmanager.yml
	Interval     time.Duration `yaml:"interval"`   // between two collections
	Evaluation   time.Duration `yaml:"evaluation"` // between two judgements of the rules
	Jobs         []Job         `yaml:"jobs"`

	// Where the suite's own metrics go: one of the two, or nowhere.
	Pushgateway string `yaml:"pushgateway"` // URL
	Textfile    string `yaml:"textfile"`    // folder on the target that its node exporter reads

	// Receiver is where alerts:drill listens itself: contacts whose webhook
	// begins with this URL are nobody's.
	Receiver string `yaml:"receiver"`
}

// A Job is what Prometheus collects in one way. What a job of a name known to
// internal/monitoring exposes, dashboard and alerts rely on.
type Job struct {
	Name     string        `yaml:"name"`
	Targets  []string      `yaml:"targets"`  // host:port each
	Scheme   string        `yaml:"scheme"`   // empty: http
	Path     string        `yaml:"path"`     // empty: that of the job's kind, or /metrics
	Interval time.Duration `yaml:"interval"` // 0: Monitoring.Interval
}

// Contacts are the people of the plan, in the order in which they are called.
type Contacts struct {
	Primary    Contact `yaml:"primary"`
	Secondary  Contact `yaml:"secondary"`
	Escalation Contact `yaml:"escalation"`
}

// A Contact is one person or rota.
type Contact struct {
	Name  string `yaml:"name"`
	Role  string `yaml:"role"`
	Email string `yaml:"email"`
	Phone string `yaml:"phone"`
	Chat  string `yaml:"chat"`

	// Where alerts go, besides Email. The files lie on Alertmanager's host:
	// what they hold is a secret and appears in no generated file.
	Webhook          string `yaml:"webhook"`
	WebhookTokenFile string `yaml:"webhook_token_file"` // bearer token of Webhook
	ChatURLFile      string `yaml:"chat_url_file"`      // holds the URL of a webhook that takes Slack's messages
}

// Operation is how the lease on the target is kept, and what happens when an
// interrupted operation is found.
type Operation struct {
	Expiry      time.Duration `yaml:"expiry"`      // of a lease whose holder is not heard of
	Parked      time.Duration `yaml:"parked"`      // of a lease between two stages of one operation
	Interrupted string        `yaml:"interrupted"` // what a pipeline does: "stop", "resume" or "undo"
}

// Values of Operation.Interrupted.
const (
	InterruptedStop   = "stop"   // say what was found, and end
	InterruptedResume = "resume" // go on with it
	InterruptedUndo   = "undo"   // take the service back
)

// Backup is how backups are proven, and when they run outside deployments.
type Backup struct {
	Verify   string      `yaml:"verify"`   // "contents" or "restore"
	Schedule []TimeOfDay `yaml:"schedule"` // UTC, daily
}

// Values of Backup.Verify.
const (
	VerifyContents = "contents" // checksum, table of contents, row counts
	VerifyRestore  = "restore"  // and restored into a scratch database
)

// Retention is how many are kept, or how long; what is live or needed to go
// back always is.
type Retention struct {
	Releases int           `yaml:"releases"`
	Backups  int           `yaml:"backups"`
	Kept     time.Duration `yaml:"kept"` // databases that were replaced
}

// All returns the three contacts with their level, in calling order.
func (c Contacts) All() []struct {
	Level string
	Contact
} {
	return []struct {
		Level string
		Contact
	}{{"primary", c.Primary}, {"secondary", c.Secondary}, {"escalation", c.Escalation}}
}

// WorkDir is the folder of the service inside a checked-out release.
func (c *Config) WorkDir(release string) string { return path.Join(release, c.Source.Subdir) }

// defaults are the values of keys that deploy.yaml leaves out: those of the
// plan and of the service as it is known.
func defaults() Config {
	return Config{
		Host:     "local",
		Confirm:  true,
		Source:   Source{Ref: "main"},
		Python:   Python{Interpreter: "/usr/bin/python3", Requirements: "requirements.txt", Timeout: 15 * time.Minute},
		Services: Services{API: "etf_api", Worker: "celery_worker", Beat: "celery_beat"},
		Celery:   Celery{App: "app.core.celery_app", Queue: "celery", Tasks: []string{"app.tasks."}, Drain: 10 * time.Minute, Start: time.Minute},
		Database: Database{ApplicationName: "etf_service", LockTimeout: 10 * time.Second,
			StatementTimeout: 30 * time.Minute, Jobs: 2},
		Cache: Cache{Prefix: "etf:cache:", PauseKey: "etf_updates_paused"},
		API: API{Health: "/api/v1/etf/health", Metrics: "/metrics",
			ReleaseField: "release", ReleaseHeader: "X-ETF-Release"},
		Env:  Env{File: "shared/.env"},
		Logs: Logs{Files: []string{"shared/logs/*.log*"}},
		Thresholds: Thresholds{StuckAfter: time.Hour, ErrorsAfter: 7 * 24 * time.Hour, MissingAfter: 3 * 24 * time.Hour, Gap: 10,
			RatesGap: 7, Latency: time.Second, Slower: 2, DiskReserve: 2e9, LargeTable: 100e6, BackupAge: 26 * time.Hour,
			LongestTask: 2 * time.Minute, TaskDelay: 5 * time.Minute, PriceJump: 0.25, PriceCorrection: 0.02},
		Timeouts:   Timeouts{Connect: 5 * time.Second, Check: time.Minute, Verify: 2 * time.Minute},
		Monitoring: Monitoring{Interval: 15 * time.Second, Evaluation: 15 * time.Second},
		Alerts: Alerts{Scale: 1, Runbook: "RUNBOOK.md", ErrorRate: 0.1, FailedShare: 0.5, MinUpdates: 3, StaleAfter: 26 * time.Hour,
			SuccessObjective: 0.95, FreshObjective: 0.99, QueueDepth: 100,
			Secondary: 15 * time.Minute, Escalation: 30 * time.Minute, Interval: 5 * time.Minute, Repeat: 4 * time.Hour},
		Window:    Window{Maximum: 2 * time.Hour, CutOver: 15 * time.Minute, Enforce: true},
		Operation: Operation{Expiry: time.Minute, Parked: 2 * time.Hour, Interrupted: InterruptedStop},
		Backup:    Backup{Verify: VerifyContents},
		Retention: Retention{Releases: 5, Backups: 10, Kept: 30 * 24 * time.Hour},
	}
}
