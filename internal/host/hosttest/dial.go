package hosttest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Connections to servers of the host.
var dialTests = map[string]func(*suite){
	"tcp":               func(s *suite) { s.dials("tcp", "127.0.0.1:0") },
	"unix":              func(s *suite) { s.dials("unix", filepath.Join(shortDir(s), "socket")) },
	"nobody listens":    nobodyListens,
	"unknown network":   unknownNetwork,
	"ends with context": dialEnds,
}

// shortDir is for sockets: their paths may have 107 bytes.
func shortDir(s *suite) string {
	dir, err := os.MkdirTemp("", "dial")
	s.must(err)
	s.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (s *suite) dials(network, address string) {
	l, err := net.Listen(network, address)
	s.must(err)
	defer l.Close()
	go func() { // answers each line in capitals, and once more at the end
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for in := bufio.NewScanner(c); in.Scan(); {
					fmt.Fprintln(c, strings.ToUpper(in.Text()))
				}
				fmt.Fprintln(c, "END")
			}()
		}
	}()
	c, err := s.h.Dial(s.ctx, network, l.Addr().String())
	s.must(err)
	defer c.Close()
	in := bufio.NewReader(c)
	for _, word := range []string{"first", "second"} {
		fmt.Fprintln(c, word)
		if got, err := in.ReadString('\n'); err != nil || got != strings.ToUpper(word)+"\n" {
			s.Fatalf("got %q, %v", got, err)
		}
	}
	// A server that does not answer must not keep the caller.
	s.must(c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)))
	_, err = in.ReadString('\n')
	if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() {
		s.Errorf("past its deadline: got error %v, want a timeout", err)
	}
	s.must(c.SetDeadline(time.Now().Add(patience)))
	half, ok := c.(interface{ CloseWrite() error })
	if !ok {
		s.Fatalf("%T cannot close one direction", c)
	}
	s.must(half.CloseWrite())
	if rest, err := io.ReadAll(in); err != nil || string(rest) != "END\n" {
		s.Errorf("after closing one direction: got %q, %v", rest, err)
	}
}

func nobodyListens(s *suite) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	s.must(err)
	address := l.Addr().String()
	l.Close()
	if _, err := s.h.Dial(s.ctx, "tcp", address); err == nil || !strings.Contains(err.Error(), address) {
		s.Errorf("got error %v, want one that names %s", err, address)
	}
	socket := filepath.Join(shortDir(s), "socket")
	if _, err := s.h.Dial(s.ctx, "unix", socket); err == nil || !strings.Contains(err.Error(), socket) {
		s.Errorf("got error %v, want one that names %s", err, socket)
	}
}

func unknownNetwork(s *suite) {
	if _, err := s.h.Dial(s.ctx, "udp", "127.0.0.1:9"); err == nil || !strings.Contains(err.Error(), "udp") {
		s.Errorf("got error %v, want one that names the network", err)
	}
}

func dialEnds(s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	s.must(err)
	defer l.Close()
	if c, err := s.h.Dial(ctx, "tcp", l.Addr().String()); err == nil {
		c.Close()
		s.Error("connected, though the context has ended")
	}
}
