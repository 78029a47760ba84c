package sandbox

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Linux capabilities, by their numbers in capability.h.
const (
	capDACOverride   = 1
	capDACReadSearch = 2
)

// An account is the user that PostgreSQL runs as: it refuses root.
type account struct {
	cred    *syscall.Credential // nil: the present user
	ambient []uintptr
}

// postgresAccount is the present user, or postgres for root. Where a folder
// on the way to the sandbox is closed to postgres (a checkout under /root),
// the server is given the right to pass through it.
func (s *Sandbox) postgresAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return &account{}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("finding the user that PostgreSQL runs as: %w: the package postgresql-common creates it", err)
	}
	uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
	if errUID != nil || errGID != nil {
		return nil, fmt.Errorf("finding the user that PostgreSQL runs as: postgres: ids %s and %s are no numbers", u.Uid, u.Gid)
	}
	a := &account{cred: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	closed := closedFolder(s.dir, a.cred.Uid, a.cred.Gid)
	if closed == "" {
		return a, nil
	}
	// A plain container's root has the second of them only.
	for _, c := range []uintptr{capDACReadSearch, capDACOverride} {
		if permitted(c) {
			a.ambient = []uintptr{c}
			return a, nil
		}
	}
	return nil, fmt.Errorf("the sandbox's folder: %s: the user postgres, which PostgreSQL runs as, may not pass through %s, "+
		"and this root cannot let it: set ETF_SANDBOX to a folder that is open to it", s.dir, closed)
}

// attr returns the attributes of a process that runs as this user.
func (a *account) attr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: a.cred, AmbientCaps: slices.Clone(a.ambient)}
}

// folder makes a folder that only this user can look into.
func (a *account) folder(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return a.own(path)
}

// file writes a file that only this user can read.
func (a *account) file(path, text string) error {
	if err := writeFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return a.own(path)
}

func (a *account) own(path string) error {
	if a.cred == nil {
		return nil
	}
	return os.Chown(path, int(a.cred.Uid), int(a.cred.Gid))
}

// closedFolder returns the first folder from / down to path that the user may
// not pass through, or nothing.
func closedFolder(path string, uid, gid uint32) string {
	way := "/"
	for _, name := range strings.Split(filepath.Clean(path), "/") {
		way = filepath.Join(way, name)
		info, err := os.Stat(way)
		if err != nil {
			return way
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return way
		}
		mode, search := info.Mode().Perm(), os.FileMode(0o001)
		switch {
		case st.Uid == uid:
			search = 0o100
		case st.Gid == gid:
			search = 0o010
		}
		if mode&search == 0 {
			return way
		}
	}
	return ""
}

// permitted reports whether this process may hand on a capability.
func permitted(c uintptr) bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	for _, line := range strings.Split(string(status), "\n") {
		if value, found := strings.CutPrefix(line, "CapPrm:"); found {
			set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			return err == nil && set&(1<<c) != 0
		}
	}
	return false
}
