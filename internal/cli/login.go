package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/task"
)

func newLogin(g *globals) *cobra.Command {
	var o loginOptions
	c := &cobra.Command{
		Use:   "login [URL]",
		Short: "Keep the token of a server, or list the servers",
		Long: `Check a token with a server and keep it in your configuration folder, where only you can read it. The
token comes from --token, from $LONGSHORE_TOKEN, or from standard input. The one-time link that a server
prints at its first start can be given instead of a URL: an administrator's token is made with it.

Programs need no login: they set LONGSHORE_SERVER, to an address, and LONGSHORE_TOKEN.

The server that was logged in to last is asked when a command names none. Without a URL, the servers
are listed.`,
		Example: `  longshore login https://longshore.example.org --name prod < token.txt
  longshore login http://127.0.0.1:8470 --token lsk_…
  longshore login 'http://127.0.0.1:8470/login?code=…'
  longshore login`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return g.listServers()
			}
			return g.login(c.Context(), args[0], o)
		},
	}
	c.Flags().StringVar(&o.token, "token", "", "the token, lsk_…")
	c.Flags().StringVar(&o.name, "name", "", "what to call the server (default its host)")
	c.Flags().StringVar(&o.ca, "ca", "", "a file with certificates that are trusted for this server, beside the system's")
	return c
}

func newLogout(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "logout SERVER", Short: "Forget the token of a server", Example: "  longshore logout prod", Args: exactly("a SERVER"),
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := readServers()
			if err != nil {
				return err
			}
			s, err := l.find(args[0])
			if err != nil {
				return err
			}
			if !l.remove(s.Name) {
				return (&task.Error{Code: task.CodeMissing, Message: "nobody logged in to " + args[0]}).WithHint("`longshore login` lists the servers")
			}
			return l.write()
		},
	}
}

func (g *globals) listServers() error {
	l, err := readServers()
	if err != nil {
		return err
	}
	if g.json {
		list := []map[string]any{}
		for _, s := range l.Servers {
			list = append(list, map[string]any{"name": s.Name, "url": s.URL, "default": s.Name == l.Default})
		}
		return g.printJSON(list)
	}
	var rows [][]string
	for _, s := range l.Servers {
		mark := ""
		if s.Name == l.Default {
			mark = "default"
		}
		rows = append(rows, []string{s.Name, s.URL, mark})
	}
	g.table([]string{"NAME", "URL", ""}, rows)
	return nil
}

// loginOptions say how to log in.
type loginOptions struct{ token, name, ca string }

// trusted reads the certificates that are trusted beside the system's.
func (o loginOptions) trusted() (string, error) {
	if o.ca == "" {
		return "", nil
	}
	pem, err := os.ReadFile(o.ca)
	if err != nil {
		return "", task.Errorf(task.CodeMissing, "the certificate cannot be read: %w", err)
	}
	return string(pem), nil
}

func (g *globals) login(ctx context.Context, given string, o loginOptions) error {
	s, err := g.newLogin(ctx, given, o)
	if err != nil {
		return err
	}
	c, err := g.client(s)
	if err != nil {
		return err
	}
	self, err := c.Self(ctx)
	if err != nil {
		return err
	}
	if s.Name = o.name; s.Name == "" {
		u, err := url.Parse(s.URL)
		if err != nil {
			return err
		}
		s.Name = u.Host
	}
	l, err := readServers()
	if err != nil {
		return err
	}
	if u, err := url.Parse(s.URL); err == nil && u.Scheme == "http" && !isHere(u.Hostname()) {
		g.info("warning: others on the network can read the token on its way to %s, as it is not https", s.URL)
	}
	l.put(s)
	if err := l.write(); err != nil {
		return err
	}
	if g.json {
		return g.printJSON(self)
	}
	fmt.Fprintf(g.Out, "logged in to %s as %s (%s)\n", s.Name, line(self.Account), line(strings.Join(self.Scopes, ", ")))
	return nil
}

// newLogin finds out the address and the token that are meant.
func (g *globals) newLogin(ctx context.Context, given string, o loginOptions) (knownServer, error) {
	ca, err := o.trusted()
	if err != nil {
		return knownServer{}, err
	}
	token := o.token
	if base, code, ok := strings.Cut(given, "/login?code="); ok {
		return g.redeem(ctx, base, code, ca)
	}
	u, err := serverURL(given)
	if err != nil {
		return knownServer{}, err
	}
	if token == "" {
		token = os.Getenv("LONGSHORE_TOKEN")
	}
	if token == "" {
		g.info("token:")
		line, err := bufio.NewReader(io.LimitReader(g.In, 4096)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return knownServer{}, err
		}
		token = strings.TrimSpace(line)
	}
	if token == "" {
		return knownServer{}, (&task.Error{Code: task.CodeUsage, Message: "no token is given"}).WithHint("add --token, or set LONGSHORE_TOKEN; `longshore token create` makes one")
	}
	return knownServer{URL: u, CA: ca, Token: token}, nil
}

// redeem turns a one-time link into a token that lasts.
func (g *globals) redeem(ctx context.Context, base, code, ca string) (knownServer, error) {
	u, err := serverURL(base)
	if err != nil {
		return knownServer{}, err
	}
	stranger, err := g.client(knownServer{URL: u, CA: ca})
	if err != nil {
		return knownServer{}, err
	}
	session, err := stranger.SignIn(ctx, code)
	if err != nil {
		return knownServer{}, err
	}
	c, err := g.client(knownServer{URL: u, CA: ca, Token: session})
	if err != nil {
		return knownServer{}, err
	}
	self, err := c.Self(ctx)
	if err != nil {
		return knownServer{}, err
	}
	t, err := c.CreateToken(ctx, v1.TokenRequest{Account: self.Account, Name: "made by longshore login", Scopes: self.Scopes})
	if err != nil {
		return knownServer{}, err
	}
	return knownServer{URL: u, CA: ca, Token: t.Secret}, revokeQuietly(ctx, c, self.Token)
}

// revokeQuietly ends the session of a link. A server that is gone by then ends it by itself later.
func revokeQuietly(ctx context.Context, c *client.Client, id string) error {
	err := c.RevokeToken(ctx, id)
	if task.CodeOf(err) == task.ReasonEngine {
		return nil
	}
	return err
}
