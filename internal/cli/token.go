package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	v1 "longshore/internal/api/v1"
	"longshore/internal/config"
	"longshore/internal/task"
)

func newToken(g *globals) *cobra.Command {
	c := &cobra.Command{
		Use: "token", Short: "Make, list and revoke the tokens of a server",
		Long: `Make, list and revoke the tokens of a server. A token belongs to an account and has scopes: admin (all),
operator (all runs, settings of the machine), author (import), caller (run), reader (look).`,
		Example: `  longshore token create --account ci --scope caller,author --expires 90d
  longshore token list
  longshore token revoke k261a072ca5662fd`,
	}
	c.AddCommand(tokenCreate(g), tokenList(g), tokenRevoke(g))
	return c
}

func tokenCreate(g *globals) *cobra.Command {
	var server serverFlags
	var r v1.TokenRequest
	expires := ""
	c := &cobra.Command{
		Use: "create --account NAME --scope SCOPE", Short: "Make a token, and print its secret this once", Args: cobra.NoArgs,
		Example: "  longshore token create --account ci --scope caller --expires 90d",
		RunE: func(c *cobra.Command, _ []string) error {
			if r.Account == "" || len(r.Scopes) == 0 {
				return (&task.Error{Code: task.CodeUsage, Message: "whose token, and what for, is not said"}).WithHint("add --account NAME and --scope: admin, operator, author, caller, reader")
			}
			if expires != "" {
				d, err := config.ParseAge(expires)
				if err != nil {
					return task.Errorf(task.CodeUsage, "--expires: %w", err)
				}
				r.ExpiresIn = d.String()
			}
			cl, err := g.dial(&server)
			if err != nil {
				return err
			}
			t, err := cl.CreateToken(c.Context(), r)
			if err != nil {
				return err
			}
			if g.json {
				return g.printJSON(t)
			}
			g.info("token %s of %s (%s), expires: %s; the secret is shown only now", t.Token.ID, t.Token.Account, strings.Join(t.Token.Scopes, ", "), ago(t.Token.ExpiresAt))
			fmt.Fprintln(g.Out, line(t.Secret))
			return nil
		},
	}
	server.register(c.Flags())
	f := c.Flags()
	f.StringVar(&r.Account, "account", "", "whose it is; made when there is none of that name")
	f.StringVar(&r.Name, "name", "", "what it is used for")
	f.StringSliceVar(&r.Scopes, "scope", nil, "what it may do: admin, operator, author, caller, reader")
	f.StringVar(&expires, "expires", "", "how long it counts, such as 12h or 90d (default for ever)")
	return c
}

func tokenList(g *globals) *cobra.Command {
	var server serverFlags
	account, all := "", false
	c := &cobra.Command{
		Use: "list", Short: "List tokens; only administrators see those of others", Args: cobra.NoArgs, Example: "  longshore token list --account ci",
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := g.dial(&server)
			if err != nil {
				return err
			}
			list, err := cl.Tokens(c.Context(), account)
			if err != nil {
				return err
			}
			shown := []v1.Token{}
			for _, t := range list {
				if all || tokenState(t, time.Now()) == "" {
					shown = append(shown, t)
				}
			}
			if g.json {
				return g.printJSON(shown)
			}
			var rows [][]string
			for _, t := range shown {
				rows = append(rows, []string{t.ID, t.Account, strings.Join(t.Scopes, ","), ago(t.ExpiresAt), ago(t.LastUsedAt), t.Name, tokenState(t, time.Now())})
			}
			g.table([]string{"ID", "ACCOUNT", "SCOPES", "EXPIRES", "LAST USED", "NAME", ""}, rows)
			return nil
		},
	}
	server.register(c.Flags())
	c.Flags().StringVar(&account, "account", "", "only of this account")
	c.Flags().BoolVar(&all, "all", false, "also those that count no more")
	return c
}

// tokenState is why a token counts no more, or "".
func tokenState(t v1.Token, now time.Time) string {
	switch {
	case !t.RevokedAt.IsZero():
		return "revoked"
	case !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt):
		return "expired"
	}
	return ""
}

func tokenRevoke(g *globals) *cobra.Command {
	var server serverFlags
	c := &cobra.Command{
		Use: "revoke ID…", Short: "Have tokens count no more", Args: cobra.MinimumNArgs(1), Example: "  longshore token revoke k261a072ca5662fd",
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := g.dial(&server)
			if err != nil {
				return err
			}
			for _, id := range args {
				if err := cl.RevokeToken(c.Context(), id); err != nil {
					return err
				}
				g.info("revoked %s", id)
			}
			if g.json {
				return g.printJSON(map[string]any{"revoked": args})
			}
			return nil
		},
	}
	server.register(c.Flags())
	return c
}
