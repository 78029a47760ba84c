package alembic

import "strings"

// WayBack reports whether a migration of an Outlook has a way back, and if not,
// why; judged is false where its downgrade cannot be read without running it.
func (m Migration) WayBack() (there, judged bool, why string) {
	switch {
	case m.Up.Error == "" && m.Back.Error != "" && !acts(m.Up.SQL):
		return true, true, "" // there is nothing to take back
	case m.Back.Raised:
		return false, true, "its downgrade refuses: " + firstLine(m.Back.Error)
	case m.Back.Error != "":
		return false, false, "its downgrade cannot be read beforehand: " + firstLine(m.Back.Error)
	case !acts(m.Back.SQL) && m.Up.Error != "":
		return false, false, "neither its SQL nor that of its downgrade can be read beforehand"
	case !acts(m.Back.SQL) && acts(m.Up.SQL):
		return false, true, "its downgrade does nothing"
	}
	return true, true, ""
}

// acts reports whether SQL does more than keep Alembic's own books.
func acts(sql string) bool {
	for _, s := range split(sql) {
		text := strings.ToUpper(s.text)
		switch {
		case text == "", text == "BEGIN", text == "COMMIT", bookkeeping.MatchString(text):
		case strings.HasPrefix(text, "CREATE TABLE ALEMBIC_VERSION"), strings.HasPrefix(text, "DROP TABLE ALEMBIC_VERSION"):
		default:
			return true
		}
	}
	return false
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
