package monitoring

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A bookSection is a heading of the runbook with what stands below it.
type bookSection struct {
	anchor string
	line   int
	level  int
	text   bool // it says something, beside comments and code
}

var (
	fence    = regexp.MustCompile("^ {0,3}(```+|~~~+)(.*)$")
	heading  = regexp.MustCompile(`^ {0,3}(#{1,6})[ \t]+(.+?)[ \t#]*$`)
	unlinked = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// bookSections are the headings of a text as a reader sees them: what looks
// like one in code or in a comment is none.
func bookSections(text string) (all []bookSection) {
	var open string // the fence that code stands in
	comment := false
	for n, line := range strings.Split(text, "\n") {
		if m := fence.FindStringSubmatch(line); m != nil && !comment {
			switch {
			case open == "":
				open = m[1]
			case m[1][0] == open[0] && len(m[1]) >= len(open) && strings.TrimSpace(m[2]) == "":
				open = ""
			}
			continue
		}
		if open != "" {
			continue
		}
		line, comment = withoutComment(line, comment)
		if m := heading.FindStringSubmatch(line); m != nil {
			all = append(all, bookSection{anchor: anchorOf(m[2]), line: n + 1, level: len(m[1])})
		} else if len(all) > 0 && strings.TrimSpace(line) != "" {
			all[len(all)-1].text = true
		}
	}
	return all
}

// withoutComment is what is left of a line, and whether a comment goes on
// behind it.
func withoutComment(line string, within bool) (string, bool) {
	rest := ""
	for {
		mark := "<!--"
		if within {
			mark = "-->"
		}
		before, after, has := strings.Cut(line, mark)
		if !within {
			rest += before
		}
		if !has {
			return rest, within
		}
		line, within = after, !within
	}
}

// anchorOf is the end of the address of a heading, as GitHub makes it.
func anchorOf(title string) string {
	return strings.ReplaceAll(unlinked.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-")
}

// lintRunbook wants a section of its own for each alert, which says something
// and which the alert's link leads to.
func lintRunbook(f alertFiles) (problems []string) {
	sections := bookSections(f.runbook)
	seen := map[string]bool{}
	for _, r := range f.alerts() {
		if !seen[r.Alert+r.Annotations["runbook_url"]] {
			seen[r.Alert+r.Annotations["runbook_url"]] = true
			if problem := f.sectionProblem(r, sections); problem != "" {
				problems = append(problems, RulesFile+": "+r.Alert+": "+problem)
			}
		}
	}
	return problems
}

func (f alertFiles) sectionProblem(r rule, sections []bookSection) string {
	_, anchor, _ := strings.Cut(r.Annotations["runbook_url"], "#")
	own := Alert{Name: r.Alert}.anchor()
	isOwn := func(s bookSection) bool { return s.anchor == own }
	i := slices.IndexFunc(sections, isOwn)
	switch {
	case anchor == "":
		return "has no runbook_url with a section"
	case anchor != own:
		return fmt.Sprintf("its runbook_url leads to the section %s, which is not its own: write #%s", anchor, own)
	case i < 0:
		return fmt.Sprintf("its runbook_url names the section %s, which %s does not have: run docs:runbook", own, RunbookFile)
	}
	if next := slices.IndexFunc(sections[i+1:], isOwn); next >= 0 {
		return fmt.Sprintf("%s has its heading twice, on lines %d and %d, and its runbook_url leads to the first: give one another name",
			RunbookFile, sections[i].line, sections[i+1+next].line)
	}
	if sections[i].level != 2 {
		return fmt.Sprintf("%s has its heading on line %d below another: run docs:runbook", RunbookFile, sections[i].line)
	}
	for _, s := range sections[i:] {
		if s.line > sections[i].line && s.level <= 2 {
			break
		}
		if s.text {
			return ""
		}
	}
	return fmt.Sprintf("its section in %s says nothing: run docs:runbook", RunbookFile)
}
