package sandbox

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// stateVersion is the version of state.json's format.
const stateVersion = 1

// A state is what a sandbox remembers between runs, in state.json (0600).
type state struct {
	Version int            `json:"version"`
	Dir     string         `json:"dir"`
	UID     int            `json:"uid"`
	ETFs    int            `json:"etfs"`
	Filled  bool           `json:"filled,omitempty"` // the database has been filled once
	Ports   map[string]int `json:"ports"`
	Secrets secrets        `json:"secrets"`
	// Revive: supervisord was started and the deployed service is to follow.
	Revive bool `json:"revive,omitempty"`
}

// secrets are the passwords, each of 32 hexadecimal digits: they need no
// quoting in any URL or configuration file.
type secrets struct {
	Superuser string `json:"superuser"`
	Owner     string `json:"owner"`
	App       string `json:"app"`
	Redis     string `json:"redis"`
	Broker    string `json:"broker"`
	Cookie    string `json:"cookie"` // Erlang's
}

func newState(dir string, etfs int) *state {
	secret := func() string {
		raw := make([]byte, 16)
		_, _ = rand.Read(raw) // never fails: crypto/rand ends the program instead
		return hex.EncodeToString(raw)
	}
	return &state{
		Version: stateVersion, Dir: dir, UID: os.Geteuid(), ETFs: etfs, Ports: map[string]int{},
		Secrets: secrets{
			Superuser: secret(), Owner: secret(), App: secret(),
			Redis: secret(), Broker: secret(), Cookie: secret(),
		},
	}
}

// errNoSandbox says that a folder holds no sandbox.
var errNoSandbox = errors.New("there is no sandbox")

// loadState reads state.json; errNoSandbox when there is none.
func loadState(dir string) (*state, error) {
	path := filepath.Join(dir, "state.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoSandbox
	}
	if err != nil {
		return nil, fmt.Errorf("reading the sandbox's state: %w", err)
	}
	st := &state{}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(st); err != nil {
		return nil, fmt.Errorf("reading the sandbox's state: %s: %w: run sandbox:down -purge to start anew", path, err)
	}
	if st.Version != stateVersion || st.Ports == nil || st.Secrets.Superuser == "" {
		return nil, fmt.Errorf("reading the sandbox's state: %s: version %d is not %d, or it is incomplete: "+
			"run sandbox:down -purge to start anew", path, st.Version, stateVersion)
	}
	if st.UID != os.Geteuid() {
		return nil, fmt.Errorf("reading the sandbox's state: %s: the sandbox belongs to the user with id %d, this is %d: "+
			"work as that user, or set ETF_SANDBOX to another folder", path, st.UID, os.Geteuid())
	}
	return st, nil
}

func (s *Sandbox) saveState() error {
	data, err := json.MarshalIndent(s.st, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(s.path("state.json"), append(data, '\n'), 0o600)
}

// lock makes this process the only one that changes the sandbox, waiting for
// another one that does.
func (s *Sandbox) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(s.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the sandbox: %w", err)
	}
	told := false
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil && s.lockIsCurrent(f) {
			return func() { f.Close() }, nil
		}
		if err == nil {
			// It was purged by the holder that we waited for.
			f.Close()
			return s.lock(ctx)
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("locking the sandbox: %s: %w", f.Name(), err)
		}
		if !told {
			s.out.note("another process is changing this sandbox: waiting for it")
			told = true
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			f.Close()
			return nil, fmt.Errorf("waiting for the sandbox's lock: %s: %w", f.Name(), err)
		}
	}
}

func (s *Sandbox) lockIsCurrent(f *os.File) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(f.Name())
	return err == nil && os.SameFile(held, there)
}

// writeFile replaces a file in one step. A file that has this content and
// mode already is left alone, so that its time tells the last change.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	_, err := replaceFile(path, data, mode)
	return err
}

// replaceFile is writeFile that also reports whether anything changed.
func replaceFile(path string, data []byte, mode fs.FileMode) (bool, error) {
	old, err := os.ReadFile(path)
	if err == nil && bytes.Equal(old, data) {
		return false, os.Chmod(path, mode)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return false, err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return false, fmt.Errorf("writing: %s: %w", path, err)
	}
	return true, os.Rename(tmp.Name(), path)
}
