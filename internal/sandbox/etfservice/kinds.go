package etfservice

import (
	"bytes"
	"fmt"
	"strings"
	"text/template"
)

// Kind is a sort of release to practise with.
type Kind struct {
	Name    string // as given to sandbox:release
	Meaning string // one line
}

// kind makes a Kind's commit: how the last good release is changed.
type kind struct {
	Kind
	good    bool // further releases are built on it
	subject string
	edits   func(b base) []edit
}

// base is the release that a new one is built on.
type base struct {
	minor    int // 2 for version 1.2
	revision int // of the newest migration: 3 for 0003
}

// edit changes one file below the backend folder: old, which is there once, is replaced; where old is
// empty the text is added at the end. A migration is always a new file.
type edit struct{ path, old, text string }

var kinds = []kind{
	{
		Kind:    Kind{"feature", "a further nullable column of the ETFs, with its migration; becomes the base of later releases"},
		good:    true,
		subject: "Answer the %s of ETFs",
		edits:   feature,
	},
	{
		Kind:    Kind{"broken-migration", "two migrations: the first succeeds, the second fails half-way and leaves a column and an index"},
		subject: "Measure tracking error and spread",
		edits:   brokenMigration,
	},
	{
		Kind:    Kind{"corrupting", "updates store prices in the listing's currency, but labelled EUR"},
		subject: "Simplify the conversion of prices",
		edits: func(base) []edit {
			return []edit{{"app/services/conversion.py", conversion, "    return round(amount, 2)\n"}}
		},
	},
	{
		Kind:    Kind{"crashing", "the API ends with an error while it starts; workers run"},
		subject: "Make the allowed origins configurable",
		edits: func(base) []edit {
			const after = "log = logging.getLogger(__name__)\n"
			return []edit{{"app/main.py", after, after + "ALLOWED_ORIGINS = settings().allowed_origins.split(\",\")\n"}}
		},
	},
	{
		Kind:    Kind{"slow", "each update takes a minute longer"},
		subject: "Wait for the price source to settle",
		edits: func(base) []edit {
			const before = "    rates.ensure(session, start, end)\n"
			const wait = "    for _ in range(120):  # in small steps, so that a time limit can interrupt it\n        time.sleep(0.5)\n"
			return []edit{{"app/services/updater.py", before, wait + before}}
		},
	},
}

// What the corrupting release leaves out.
const conversion = `    if currency == "EUR":
        return round(amount, 2)
    if currency == "GBp":
        amount = amount / 100
    return round(amount / rate, 2)
`

// attributes are what the features add one after the other.
var attributes = []string{
	"replication method", "fund provider", "benchmark index", "investment focus",
	"hedged currency", "share class", "tax status", "custodian bank",
}

func attribute(b base) string {
	if n := b.minor - 2; n < len(attributes) {
		return attributes[n]
	}
	return fmt.Sprintf("attribute %d", b.minor-1)
}

func feature(b base) []edit {
	title := attribute(b)
	column := strings.ReplaceAll(title, " ", "_")
	const after = "    distribution_policy: str | None = None\n"
	return []edit{
		{"app/models/etf.py", "", fmt.Sprintf("    %s: Mapped[str | None]\n", column)},
		{"app/api/etfs.py", after, after + fmt.Sprintf("    %s: str | None = None\n", column)},
		migration("feature/migration.py.tmpl", step{revision(b.revision + 1), revision(b.revision), column, title}),
	}
}

// brokenMigration has revisions of its own kind of name, so that none is ever taken for that of a feature.
func brokenMigration(b base) []edit {
	first, second := revision(b.revision+1)+"b", revision(b.revision+2)+"b"
	return []edit{
		{"app/models/etf.py", "", "    tracking_error: Mapped[Ratio | None] = mapped_column(index=True)\n"},
		{"app/models/prices.py", "", "    spread: Mapped[Fine | None]\n"},
		migration("broken-migration/first.py.tmpl", step{first, revision(b.revision), "tracking_error", ""}),
		migration("broken-migration/second.py.tmpl", step{second, first, "spread", ""}),
	}
}

func revision(number int) string { return fmt.Sprintf("%04d", number) }

// step is what a migration's template is filled in with.
type step struct{ Revision, Head, Column, Title string }

func migration(name string, s step) edit {
	var text bytes.Buffer
	// The templates are embedded and executed by the tests: an error here is a fault of this package.
	parsed := template.Must(template.ParseFS(kindFiles, "kinds/"+name))
	if err := parsed.Execute(&text, s); err != nil {
		panic(err)
	}
	return edit{path: "alembic/versions/" + s.Revision + "_" + s.Column + ".py", text: text.String()}
}
