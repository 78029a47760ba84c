package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

// StatusVersion is the version of the JSON form of Status.
const StatusVersion = 1

// States of a part.
const (
	StateUp       = "up"
	StateStarting = "starting" // its process runs and does not answer yet
	StateDown     = "down"
	StateForeign  = "foreign" // another program listens on its port
)

// A Status is what a sandbox looks like at one moment.
type Status struct {
	Version int          `json:"version"`
	Dir     string       `json:"dir"`
	State   string       `json:"state"` // up when all servers are, down when none is, else partial
	ETFs    int          `json:"etfs"`
	Parts   []PartStatus `json:"parts"`
}

// A PartStatus is one server, or one process of the service.
type PartStatus struct {
	Name    string `json:"name"`
	State   string `json:"state"` // one of the State constants; of the service: supervisord's, in lower case
	PID     int    `json:"pid,omitempty"`
	Address string `json:"address,omitempty"`
	Memory  int64  `json:"memory_bytes,omitempty"` // private memory of its processes
	Detail  string `json:"detail,omitempty"`       // why it is not up
}

// Status looks at all parts and changes nothing. A sandbox that does not
// exist is down.
func (s *Sandbox) Status(ctx context.Context) (Status, error) {
	status := Status{Version: StatusVersion, Dir: s.dir, State: StateDown}
	st, err := loadState(s.dir)
	if err != nil && !errors.Is(err, errNoSandbox) {
		return status, err
	}
	if st == nil {
		st = &state{Ports: map[string]int{}}
	}
	s.st, status.ETFs = st, st.ETFs
	all := processes(s.dir)
	parts := s.parts()
	status.Parts = make([]PartStatus, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		wg.Go(func() { status.Parts[i] = s.partStatus(ctx, p, all) })
	}
	wg.Wait()
	up := 0
	for _, p := range status.Parts {
		if p.State == StateUp {
			up++
		}
	}
	switch {
	case up == len(parts):
		status.State = StateUp
	case len(all) > 0:
		status.State = "partial"
	}
	status.Parts = append(status.Parts, s.serviceStatus(ctx, all)...)
	return status, ctx.Err()
}

func (s *Sandbox) partStatus(ctx context.Context, p part, all []process) PartStatus {
	result := PartStatus{Name: p.name, State: StateDown, Address: s.address(p)}
	server, runs := p.server(all)
	if !runs {
		if p.port != "" && who(s.st.Ports[p.port], listeners(), all) == listenForeign {
			result.State = StateForeign
			result.Detail = "another program listens on its port: sandbox:up will choose another"
		}
		return result
	}
	result.State, result.PID = StateUp, server.PID
	for _, q := range ofPart(all, p.name) {
		result.Memory += privateMemory(q.PID)
	}
	if err := s.lookAt(ctx, p); err != nil {
		result.State, result.Detail = StateStarting, err.Error()
		var taken *portTakenError
		if errors.As(err, &taken) {
			result.State = StateForeign
		}
	}
	return result
}

func (s *Sandbox) address(p part) string {
	switch {
	case p.name == partSupervisor:
		return s.Socket()
	case s.st.Ports[p.port] == 0:
		return ""
	case slices.Contains([]string{partPrometheus, partAlertmanager, partExporter, partPrices}, p.name):
		return s.httpURL(p.port)
	default:
		return loopback(s.st.Ports[p.port])
	}
}

// serviceStatus lists the service's processes as supervisord sees them.
func (s *Sandbox) serviceStatus(ctx context.Context, all []process) []PartStatus {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	list, err := s.supervisorClient().Processes(ctx)
	if err != nil {
		return nil // the line of the supervisor itself says why
	}
	var parts []PartStatus
	for _, info := range list {
		part := PartStatus{Name: info.FullName(), State: strings.ToLower(info.State), PID: info.PID, Detail: info.SpawnError}
		if info.Group == "etf_api" {
			part.Address = s.httpURL(portAPI)
		}
		if p, ok := readProcess(info.PID); ok {
			for _, q := range descendants(all, p) {
				part.Memory += privateMemory(q.PID)
			}
		}
		if !s.deployed() && info.PID == 0 {
			part.Detail = "nothing is deployed"
		}
		parts = append(parts, part)
	}
	return parts
}

// JSON renders the status for programs.
func (s Status) JSON() ([]byte, error) {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// Table renders the status for people.
func (s Status) Table() string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"part", "state", "pid", "address", "memory", ""})
	for _, p := range s.Parts {
		pid, memory := "", ""
		if p.PID > 0 {
			pid = fmt.Sprint(p.PID)
		}
		if p.Memory > 0 {
			memory = fmt.Sprintf("%d MB", (p.Memory+1<<19)>>20)
		}
		t.AppendRow(table.Row{p.Name, p.State, pid, p.Address, memory, firstLine(p.Detail)})
	}
	// Not as the table's title: that would break a long path into lines.
	return fmt.Sprintf("sandbox %s: %s\n%s\n", s.State, s.Dir, t.Render())
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
