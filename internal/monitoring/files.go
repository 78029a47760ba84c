package monitoring

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
)

// ErrDrift says that files are not as they would be generated.
var ErrDrift = errors.New("not as generated")

// A File is one that a generator makes.
type File struct {
	Path    string // relative to the output folder, with slashes: monitoring/prometheus.yml
	Content []byte
}

// Write replaces the files below a folder: all of them or, where one cannot
// be written, none. It returns the paths of those whose content has changed.
//
// Each file is replaced at once, but not all at the same time: a kill or a
// power cut while they are put into their places leaves some as they were, and
// those that were prepared beside them, named like .prometheus.yml-123. Check
// then tells of drift, and writing again mends it.
func Write(folder string, files []File) (changed []string, err error) {
	var all []*replacement
	defer func() {
		for _, r := range all {
			err = errors.Join(err, r.close(err != nil))
		}
		if err != nil {
			changed = nil
		}
	}()
	for _, f := range files {
		r, err := prepare(folder, f)
		if err != nil {
			return nil, fmt.Errorf("writing: %s: %w", filepath.Join(folder, f.Path), err)
		}
		if r != nil {
			all, changed = append(all, r), append(changed, f.Path)
		}
	}
	for _, r := range all {
		if err := os.Rename(r.temp, r.path); err != nil {
			return nil, fmt.Errorf("writing: %s: %w", r.path, errors.Unwrap(err))
		}
		r.done = true
	}
	return changed, nil
}

// A replacement is a file whose new content lies beside it.
type replacement struct {
	path, temp string
	old        []byte
	mode       fs.FileMode // that it has, and keeps
	existed    bool
	done       bool // the new content is in its place
}

// prepare writes the new content beside a file; it returns nil where the file
// has that content already.
func prepare(folder string, f File) (*replacement, error) {
	r := &replacement{path: filepath.Join(folder, filepath.FromSlash(f.Path)), mode: 0o644}
	if !filepath.IsLocal(filepath.FromSlash(f.Path)) {
		return nil, errors.New("the path leaves the output folder")
	}
	info, err := os.Stat(r.path)
	switch {
	case err == nil && info.IsDir():
		return nil, errors.New("is a folder; remove it")
	case err == nil:
		// A link stays one: what it leads to is replaced.
		if r.path, err = filepath.EvalSymlinks(r.path); err != nil {
			return nil, err
		}
		r.existed, r.mode = true, info.Mode().Perm()
		if r.old, err = os.ReadFile(r.path); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if r.existed && bytes.Equal(r.old, f.Content) {
		return nil, nil
	}
	if err := os.MkdirAll(filepath.Dir(r.path), 0o755); err != nil {
		return nil, err
	}
	r.temp, err = temporary(r.path, f.Content, r.mode)
	return r, err
}

// close ends a replacement: what was put into its place is taken back where
// the others did not get there.
func (r *replacement) close(undo bool) error {
	if !r.done {
		return os.Remove(r.temp)
	}
	if !undo {
		return nil
	}
	if !r.existed {
		return os.Remove(r.path)
	}
	temp, err := temporary(r.path, r.old, r.mode)
	if err != nil {
		return err
	}
	return os.Rename(temp, r.path)
}

func temporary(path string, content []byte, mode fs.FileMode) (name string, err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return "", err
	}
	_, err = tmp.Write(content)
	if err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return "", errors.Join(err, os.Remove(tmp.Name()))
	}
	return tmp.Name(), nil
}

// Check compares the files below a folder with what they would be and changes
// nothing. It returns a unified diff from what is there to what is generated,
// with an error that wraps ErrDrift, or neither. A file that is missing
// differs in each line.
func Check(folder string, files []File) (text string, err error) {
	var all strings.Builder
	var names []string
	for _, f := range files {
		path := filepath.Join(folder, filepath.FromSlash(f.Path))
		there, err := os.ReadFile(path)
		old := path
		if errors.Is(err, fs.ErrNotExist) {
			old, err = os.DevNull, nil
		}
		if err != nil {
			return "", fmt.Errorf("comparing: %w", err)
		}
		if d := diff.Diff(old, there, path+" (generated)", f.Content); d != nil {
			all.Write(d)
			names = append(names, path)
		}
	}
	if names == nil {
		return "", nil
	}
	return all.String(), fmt.Errorf("%s: %w: run `go tool mage generate`", strings.Join(names, ", "), ErrDrift)
}
