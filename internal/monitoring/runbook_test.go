package monitoring

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What is written by hand stays, byte for byte, also when its alert is gone.
func TestRunbookKeepsNotes(t *testing.T) {
	e := production(t)
	first, err := Runbook(e, "")
	if err != nil {
		t.Fatal(err)
	}
	notes := "Ask Ada first.\n\n## Not a section\n\n  - <b>kept</b> as it is  \n"
	text := strings.Replace(string(first.Content), "<!-- notes: NoWorkers -->\n", "<!-- notes: NoWorkers -->\n"+notes, 1)
	text += "\n<!-- notes: OldAlert -->\nof old\n<!-- end of notes: OldAlert -->\n<!-- notes: Empty -->\n\n<!-- end of notes: Empty -->\n"
	second, err := Runbook(e, strings.ReplaceAll(text, "**No worker takes", "**edited by hand"))
	if err != nil {
		t.Fatal(err)
	}
	got := string(second.Content)
	if !strings.Contains(got, "<!-- notes: NoWorkers -->\n"+notes+"<!-- end of notes: NoWorkers -->\n") || strings.Contains(got, "edited by hand") {
		t.Error("the notes are not kept, or what is generated is not made anew")
	}
	if lost := lostNotes([]File{second}); len(lost) != 1 || lost[0] != "OldAlert" {
		t.Errorf("lost notes: %q", lost)
	}
	if _, end, _ := strings.Cut(got, lostSection); !strings.Contains(end, "of old\n") {
		t.Error("notes of an alert that is gone are gone")
	}
	third, err := Runbook(e, got)
	if err != nil || string(third.Content) != got {
		t.Errorf("generated again it differs (%v)", err)
	}
}

// Marks that do not fit together are an error: text would be lost.
func TestRunbookRefusesBrokenMarks(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"not ended":  {"x\n<!-- notes: A -->\ny\n", "the notes of A begin on line 2 and do not end"},
		"not begun":  {"<!-- end of notes: A -->\n", "line 1: notes of A end that have not begun"},
		"nested":     {"<!-- notes: A -->\n<!-- notes: B -->\n", "line 2: the notes of B begin within those of A"},
		"twice":      {"<!-- notes: A -->\n<!-- end of notes: A -->\n<!-- notes: A -->\n<!-- end of notes: A -->\n", "line 3: there are notes of A already"},
		"wrong name": {"<!-- notes: A -->\n<!-- end of notes: B -->\n", "line 2: notes of B end that have not begun"},
	} {
		if _, err := Runbook(production(t), c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

// The silence that the runbook proposes is one that Alertmanager's tool takes
// apart as it was meant, whatever the environment is called.
func TestRunbooksSilence(t *testing.T) {
	e := production(t)
	e.Name = `it's "x" \ $HOME`
	book, err := Runbook(e, "")
	if err != nil {
		t.Fatal(err)
	}
	_, command, _ := strings.Cut(string(book.Content), "\namtool ")
	command, _, _ = strings.Cut(command, "\n")
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `printf '%s\n' `+command).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"silence", "add", "--alertmanager.url=http://127.0.0.1:9093", "--duration=2h", "--comment=I have it",
		`alertname="ALERT"`, `environment="it's \"x\" \\ $HOME"`, ""}
	if got := strings.Split(string(out), "\n"); !slices.Equal(got, want) {
		t.Errorf("the shell takes it for %q", got)
	}
	e.Alertmanager = nil
	if book, err = Runbook(e, ""); err != nil || strings.Contains(string(book.Content), "\namtool ") {
		t.Errorf("without an Alertmanager a silence is proposed (%v)", err)
	}
}

// A runbook tells somebody woken at night to run what there is.
func TestRunbookNamesTargetsThatExist(t *testing.T) {
	known := targets(t)
	named := regexp.MustCompile("`([a-z]+(?::[a-zA-Z]+)?)( -[a-z]+)?`")
	check := func(alert string, texts []string) {
		for _, text := range texts {
			for _, m := range named.FindAllStringSubmatch(text, -1) {
				if isTarget := strings.Contains(m[1], ":") || known[m[1]]; isTarget && !known[strings.ToLower(m[1])] {
					t.Errorf("%s: there is no target %s", alert, m[1])
				}
			}
		}
	}
	for _, a := range Alerts(production(t)) {
		check(a.Name, append(a.Runbook.Look, a.Runbook.Run...))
		if !named.MatchString(strings.Join(append(a.Runbook.Look, a.Runbook.Run...), " ")) {
			t.Errorf("%s: names no target of this suite", a.Name)
		}
	}
}

// targets are the names of what mage runs, in small letters.
func targets(t testing.TB) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	files, err := filepath.Glob("../../magefiles/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no magefiles", err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, src, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			f, isFunc := d.(*ast.FuncDecl)
			if !isFunc || !f.Name.IsExported() {
				continue
			}
			name := f.Name.Name
			if f.Recv != nil {
				name = f.Recv.List[0].Type.(*ast.Ident).Name + ":" + name
			}
			all[strings.ToLower(name)] = true
		}
	}
	return all
}
