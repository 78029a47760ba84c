package supervisor

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// maxAnswer is the size of an answer, in bytes, above which it is not read:
// log tails are asked for in kilobytes.
const maxAnswer = 16 << 20

// Codes of supervisor's faults and of the statuses in its lists.
const (
	codeBadName        = 10
	codeNoFile         = 20
	codeAlreadyStarted = 60
	codeNotRunning     = 70
	codeSuccess        = 80
)

// A Fault is what supervisord answers instead of a result.
type Fault struct {
	Code int
	Text string // such as "BAD_NAME: worker"
}

func (f *Fault) Error() string { return fmt.Sprintf("%s (fault %d)", f.Text, f.Code) }

// call runs one method. limit is its deadline when ctx has none.
func (c *Client) call(ctx context.Context, limit time.Duration, method string, args ...any) (any, error) {
	ctx, cancel := withDeadline(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://supervisor/RPC2", bytes.NewReader(encodeCall(method, args)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "text/xml")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized:
		return nil, fmt.Errorf("supervisord at %s asks for a password: let its socket be protected by its mode instead (chmod=0700 in [unix_http_server])", c.socket)
	default:
		return nil, fmt.Errorf("supervisord at %s answered %s to %s", c.socket, resp.Status, method)
	}
	value, err := decodeAnswer(body)
	var fault *Fault
	if err != nil && !errors.As(err, &fault) {
		return nil, fmt.Errorf("reading the answer of supervisord at %s to %s: %w", c.socket, method, err)
	}
	return value, err
}

func encodeCall(method string, args []any) []byte {
	var b bytes.Buffer
	b.WriteString("<?xml version='1.0'?><methodCall><methodName>" + method + "</methodName><params>")
	for _, arg := range args {
		b.WriteString("<param><value>")
		switch v := arg.(type) {
		case bool:
			fmt.Fprintf(&b, "<boolean>%d</boolean>", map[bool]int{true: 1}[v])
		case int:
			fmt.Fprintf(&b, "<int>%d</int>", v)
		default:
			b.WriteString("<string>")
			xml.EscapeText(&b, []byte(fmt.Sprint(v)))
			b.WriteString("</string>")
		}
		b.WriteString("</value></param>")
	}
	b.WriteString("</params></methodCall>")
	return b.Bytes()
}

// A value is one XML-RPC value; at most one field is set, none for plain text.
type value struct {
	String  *string `xml:"string"`
	Int     *string `xml:"int"`
	I4      *string `xml:"i4"`
	Boolean *string `xml:"boolean"`
	Double  *string `xml:"double"`
	Array   []value `xml:"array>data>value"` // an empty list leaves it nil
	Struct  *struct {
		Members []struct {
			Name  string `xml:"name"`
			Value value  `xml:"value"`
		} `xml:"member"`
	} `xml:"struct"`
	Text string `xml:",chardata"`
}

func decodeAnswer(body []byte) (any, error) {
	var answer struct {
		Params []value `xml:"params>param>value"`
		Fault  *value  `xml:"fault>value"`
	}
	if err := xml.Unmarshal(clean(body), &answer); err != nil {
		return nil, err
	}
	if answer.Fault != nil {
		m, _ := answer.Fault.decode().(map[string]any)
		return nil, &Fault{Code: integer(m["faultCode"]), Text: text(m["faultString"])}
	}
	if len(answer.Params) != 1 {
		return nil, errors.New("neither a result nor a fault")
	}
	return answer.Params[0].decode(), nil
}

// clean replaces what XML forbids: supervisord passes on log lines as they
// are, with the escape sequences of colours and halves of characters.
func clean(body []byte) []byte {
	body = bytes.ToValidUTF8(body, []byte("?"))
	return bytes.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return '?'
		}
		return r
	}, body)
}

// decode gives string, int, bool, float64, []any or map[string]any.
func (v value) decode() any {
	switch {
	case v.String != nil:
		return *v.String
	case v.Int != nil || v.I4 != nil:
		s := v.Int
		if s == nil {
			s = v.I4
		}
		n, _ := strconv.Atoi(*s)
		return n
	case v.Boolean != nil:
		return *v.Boolean == "1"
	case v.Double != nil:
		f, _ := strconv.ParseFloat(*v.Double, 64)
		return f
	case v.Struct != nil:
		m := make(map[string]any, len(v.Struct.Members))
		for _, member := range v.Struct.Members {
			m[member.Name] = member.Value.decode()
		}
		return m
	case v.Array != nil:
		list := make([]any, 0, len(v.Array))
		for _, item := range v.Array {
			list = append(list, item.decode())
		}
		return list
	}
	return v.Text
}

func text(v any) string  { s, _ := v.(string); return s }
func integer(v any) int  { n, _ := v.(int); return n }
func boolean(v any) bool { b, _ := v.(bool); return b }

func list(v any) []map[string]any {
	items, _ := v.([]any)
	out := make([]map[string]any, 0, len(items))
	for _, item := range items {
		if m, ok := item.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}
