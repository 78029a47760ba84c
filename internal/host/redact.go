package host

import (
	"net/url"
	"sort"
	"strings"
	"sync"
)

// secrets are the words that must not leave the process by any text. They are
// kept for the whole process, since an error may be made by any package and
// printed by any other.
var secrets struct {
	sync.RWMutex
	words    map[string]bool
	replacer *strings.Replacer
}

// minSecret is the length below which a word is too common to be replaced
// without making texts unreadable; shorter passwords are refused by config.
const minSecret = 4

// AddSecret has Redact replace these words from now on, also in the form that
// they take inside a URL. Words of fewer than four characters are ignored.
func AddSecret(words ...string) {
	secrets.Lock()
	defer secrets.Unlock()
	if secrets.words == nil {
		secrets.words = map[string]bool{}
	}
	for _, w := range words {
		if len(w) < minSecret {
			continue
		}
		for _, form := range forms(w) {
			secrets.words[form] = true
		}
	}
	ordered := make([]string, 0, len(secrets.words))
	for w := range secrets.words {
		ordered = append(ordered, w)
	}
	// The longer first: a password may begin with another one.
	sort.Slice(ordered, func(i, j int) bool { return len(ordered[i]) > len(ordered[j]) })
	pairs := make([]string, 0, 2*len(ordered))
	for _, w := range ordered {
		pairs = append(pairs, w, "***")
	}
	secrets.replacer = strings.NewReplacer(pairs...)
}

// forms are the ways in which a word may stand in a text: as it is, in each
// part of a URL, and with everything escaped, as Python's quote does it.
func forms(w string) []string {
	return []string{
		w,
		url.QueryEscape(w),
		url.PathEscape(w),
		strings.TrimPrefix(url.UserPassword("", w).String(), ":"),
		strings.ReplaceAll(url.QueryEscape(w), "+", "%20"),
	}
}

// Redact returns s with every secret word replaced by three stars.
func Redact(s string) string {
	secrets.RLock()
	defer secrets.RUnlock()
	if secrets.replacer == nil {
		return s
	}
	return secrets.replacer.Replace(s)
}
