package rowdiff

import (
	"bytes"
	"context"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// pieceSize is how many bytes of rows go to the server at a time.
const pieceSize = 1 << 20

// A pump loads rows in COPY's text format through one session, into one table
// or several in turn, while the next ones are being read. The session is the
// pump's until close.
type pump struct {
	ctx    context.Context
	conn   *pgconn.PgConn
	full   chan piece
	empty  chan []byte
	ended  chan struct{}
	spouts []*spout

	mu  sync.Mutex
	err error
}

type piece struct {
	sql string
	buf []byte
}

func startPump(ctx context.Context, conn *pgconn.PgConn) *pump {
	p := &pump{ctx: ctx, conn: conn, full: make(chan piece, 1), empty: make(chan []byte, 4), ended: make(chan struct{})}
	go p.run()
	return p
}

func (p *pump) run() {
	defer close(p.ended)
	for piece := range p.full {
		if p.failure() == nil {
			if _, err := p.conn.CopyFrom(p.ctx, bytes.NewReader(piece.buf), piece.sql); err != nil {
				p.mu.Lock()
				p.err = err
				p.mu.Unlock()
			}
		}
		select {
		case p.empty <- piece.buf[:0]:
		default:
		}
	}
}

func (p *pump) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// into is where rows for one table are written to.
func (p *pump) into(copySQL string) *spout {
	s := &spout{pump: p, sql: copySQL}
	p.spouts = append(p.spouts, s)
	return s
}

// close sends what is left and waits until all of it is loaded.
func (p *pump) close() error {
	for _, s := range p.spouts {
		s.flush()
	}
	close(p.full)
	<-p.ended
	return p.err
}

// A spout takes the rows of one table: each Write is one or more whole lines.
type spout struct {
	pump *pump
	sql  string
	buf  []byte
}

// Write takes rows; an error is that of an earlier piece.
func (s *spout) Write(lines []byte) (int, error) {
	s.buf = append(s.buf, lines...)
	return len(lines), s.full()
}

func (s *spout) full() error {
	if len(s.buf) < pieceSize {
		return nil
	}
	s.flush()
	return s.pump.failure()
}

func (s *spout) flush() {
	if len(s.buf) == 0 {
		return
	}
	s.pump.full <- piece{s.sql, s.buf}
	select {
	case s.buf = <-s.pump.empty:
	default:
		s.buf = make([]byte, 0, pieceSize+pieceSize/4)
	}
}
