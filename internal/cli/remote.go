package cli

import (
	"fmt"
	"strings"
	"time"

	"longshore/internal/api/client"
)

// The patience of commands with a server that does not answer: that of those who wait for something long anyway is long enough
// for a server to be started again.
const (
	shortPatience = 5 * time.Second
	longPatience  = 10 * time.Minute
)

// client makes a client for questions that are answered at once.
func (g *globals) client(s knownServer) (*client.Client, error) {
	return g.patientClient(s, shortPatience)
}

func (g *globals) patientClient(s knownServer, patience time.Duration) (*client.Client, error) {
	return client.New(client.Options{
		URL: s.URL, Token: s.Token, CA: s.CA, UserAgent: "longshore/" + Version, Patience: patience,
		Lost: func(err error) { g.info("the server does not answer, trying again: %v", err) },
		Back: func() { g.info("the server answers again") },
	})
}

// dialPatiently makes a client that goes on when the server is started again meanwhile.
func (g *globals) dialPatiently(f *serverFlags) (*client.Client, error) {
	s, err := f.known()
	if err != nil {
		return nil, err
	}
	return g.patientClient(s, longPatience)
}

// ago is a time for people.
func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// lasted is a duration for people.
func lasted(from, to time.Time) string {
	if from.IsZero() || to.IsZero() {
		return "-"
	}
	d := to.Sub(from)
	if d < time.Minute {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// line is a text of the server's within a line of ours: it can neither steer the terminal nor begin a line of its own.
func line(s string) string {
	return strings.NewReplacer("\n", " ", "\t", " ").Replace(printable(s))
}

// table prints rows under their heads, in columns as wide as they need to be.
func (g *globals) table(heads []string, rows [][]string) {
	width := make([]int, len(heads))
	for _, row := range append([][]string{heads}, rows...) {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	for _, row := range append([][]string{heads}, rows...) {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-len([]rune(cell))+2))
			}
		}
		fmt.Fprintln(g.Out, strings.TrimRight(line(b.String()), " "))
	}
}
