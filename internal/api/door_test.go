package api_test

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"longshore/internal/access"
	"longshore/internal/api"
	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/task"
)

// whoami is a web page that says who is signed in.
var whoami = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if p := access.From(r.Context()); p != nil {
		_, _ = w.Write([]byte(p.Account + " " + access.Names(p.Scopes)))
	}
})

// TestLogin: the one-time link lets in once, a token as long as it counts, and no other site can use what the browser keeps.
func TestLogin(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{api: func(c *api.Config) { c.Web = whoami }})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	link := r.server.URL + "/login?code=" + r.keeper.LoginCode()
	if res, _ := r.browse(browser, "HEAD", link, ""); res.StatusCode != http.StatusOK {
		t.Errorf("only looking: %s", res.Status)
	}
	res, data := r.browse(browser, "GET", link, "")
	if res.StatusCode != http.StatusOK || string(data) != "admin admin" || res.Request.URL.Path != "/" || res.Request.URL.RawQuery != "" {
		t.Fatalf("%s %q at %s", res.Status, data, res.Request.URL)
	}
	again, body := r.ask("", "GET", strings.TrimPrefix(link, r.server.URL), nil)
	r.problem(again, body, http.StatusUnauthorized, task.CodeAccess)
	cookie := jar.Cookies(must(url.Parse(r.server.URL)))[0]
	for _, c := range []struct {
		name   string
		header []string
		may    bool
	}{
		{"our page", []string{"Sec-Fetch-Site", "same-origin"}, true},
		{"our page in an old browser", []string{"Origin", r.server.URL}, true},
		{"another site", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, false},
		{"another port", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:1"}, false},
		{"another site in an old browser", []string{"Origin", "https://evil.example"}, false},
	} {
		header := append(c.header, "Cookie", cookie.String(), "Content-Type", "application/json")
		res, data := r.ask("", "PUT", "/v1/accounts/x", strings.NewReader("{}"), header...)
		if (res.StatusCode == http.StatusOK) != c.may {
			t.Errorf("%s: %s %s", c.name, res.Status, data)
		}
	}
	if res, data := r.browse(browser, "POST", r.server.URL+"/logout", ""); string(data) != "" || res.StatusCode != http.StatusOK {
		t.Errorf("after logout: %s %q", res.Status, data)
	}
	res, data = r.ask("", "GET", "/v1/self", nil, "Cookie", cookie.String())
	r.problem(res, data, http.StatusUnauthorized, task.CodeAccess)

	res, data = r.browse(browser, "POST", r.server.URL+"/login", "token="+r.secret("ada", access.Caller))
	if string(data) != "ada caller" {
		t.Errorf("by token: %s %q", res.Status, data)
	}
	if res, _ = r.browse(browser, "POST", r.server.URL+"/login", "token=lsk_wrong"); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("by a wrong token: %s", res.Status)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (r *rig) browse(c *http.Client, method, to, form string) (*http.Response, []byte) {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), method, to, strings.NewReader(form))
	if err != nil {
		r.t.Fatal(err)
	}
	if method == "POST" {
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		q.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	res, err := c.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	var b strings.Builder
	if _, err := io.Copy(&b, res.Body); err != nil {
		r.t.Fatal(err)
	}
	return res, []byte(b.String())
}

// TestCookie: what the browser keeps cannot be read by scripts, and goes to no other site.
func TestCookie(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{api: func(c *api.Config) { c.Forwarded = true }})
	res, _ := r.ask("", "GET", "/login?code="+r.keeper.LoginCode(), nil, "X-Forwarded-Proto", "https")
	c := res.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || !c.Secure || c.Path != "/" || c.MaxAge <= 0 || res.StatusCode != http.StatusSeeOther {
		t.Errorf("%s: %+v", res.Status, c)
	}
	for host, want := range map[string]string{"localhost": "longshore", "localhost:8470": "longshore-8470", "[::1]:9000": "longshore-9000"} {
		res, _ := r.ask("", "GET", "/login?code="+r.keeper.LoginCode(), nil, "Host", host)
		if name := res.Cookies()[0].Name; name != want {
			t.Errorf("at %s the cookie is %s, want %s", host, name, want)
		}
	}
}

// TestHost: a server on loopback does not answer to other names, unless a token is shown.
func TestHost(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{api: func(c *api.Config) { c.Hosts = []string{"runs.example.org"} }})
	for host, want := range map[string]int{"127.0.0.1:1": 200, "localhost:8470": 200, "[::1]:8470": 200, "runs.example.org": 200, "evil.example": 421, "192.168.0.1:8470": 421} {
		res, data := r.ask("", "GET", "/healthz", nil, "Host", host)
		if res.StatusCode != want {
			t.Errorf("%s: %s", host, res.Status)
		}
		if want != 200 {
			r.problem(res, data, want, task.CodeAccess)
		}
	}
	if res, _ := r.ask(r.secret("ada", access.Reader), "GET", "/v1/self", nil, "Host", "evil.example"); res.StatusCode != 200 {
		t.Errorf("with a token: %s", res.Status)
	}
}

// TestTokens: made, shown once, used, expired, revoked, disabled.
func TestTokens(t *testing.T) {
	t.Parallel()
	now := &clock{at: time.Now()}
	r := newRig(t, options{api: func(c *api.Config) { c.Now = now.now }})
	made, err := r.admin.CreateToken(t.Context(), v1.TokenRequest{Account: "ada", Name: "laptop", Scopes: []string{"caller", "reader", "caller"}, ExpiresIn: "7d"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(made.Secret, "lsk_") || len(made.Secret) != 47 || len(made.Token.Scopes) != 2 || made.Token.ExpiresAt.Sub(now.now()).Round(time.Hour) != 7*24*time.Hour {
		t.Errorf("%+v", made)
	}
	self := func() error {
		c, err := client.New(client.Options{URL: r.server.URL, Token: made.Secret, Patience: -1})
		if err != nil {
			return err
		}
		_, err = c.Self(t.Context())
		return err
	}
	if err := self(); err != nil {
		t.Error(err)
	}
	now.pass(2 * time.Minute)
	if err := self(); err != nil {
		t.Error(err)
	}
	r.keeper.Close() // has noted the use
	list, err := r.admin.Tokens(t.Context(), "ada")
	if err != nil || len(list) != 1 || list[0].LastUsedAt.IsZero() || list[0].Name != "laptop" {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := r.admin.PutAccount(t.Context(), "ada", v1.AccountChange{Disabled: true}); err != nil {
		t.Error(err)
	}
	wantErr(t, self(), task.CodeAccess, "disabled")
	if _, err := r.admin.PutAccount(t.Context(), "ada", v1.AccountChange{}); err != nil {
		t.Error(err)
	}
	now.pass(8 * 24 * time.Hour)
	wantErr(t, self(), task.CodeAccess, "expired")
	now.pass(-8 * 24 * time.Hour) // the clock is set back
	if err := self(); err != nil {
		t.Error(err)
	}
	if err := r.admin.RevokeToken(t.Context(), made.Token.ID); err != nil {
		t.Error(err)
	}
	wantErr(t, self(), task.CodeAccess, "revoked")
	wantErr(t, r.admin.RevokeToken(t.Context(), "k0"), task.CodeMissing, "no token")
	for _, bad := range []v1.TokenRequest{
		{Account: "ada"}, {Account: "a b", Scopes: []string{"caller"}}, {Account: "ada", Scopes: []string{"king"}}, {Account: "ada", Scopes: []string{"caller"}, ExpiresIn: "-1h"},
	} {
		_, err := r.admin.CreateToken(t.Context(), bad)
		wantErr(t, err, task.CodeUsage, "")
	}
	_, err = r.admin.PutAccount(t.Context(), "root", v1.AccountChange{Disabled: true})
	wantErr(t, err, task.CodeConflict, "itself")
}

func wantErr(t *testing.T, err error, code task.Code, words string) {
	t.Helper()
	if err == nil || task.CodeOf(err) != code || !strings.Contains(err.Error(), words) {
		t.Errorf("%v (%s), want %s with %q", err, task.CodeOf(err), code, words)
	}
}

// TestLimits: too many requests of one token are told when to come again; others are not held up.
func TestLimits(t *testing.T) {
	t.Parallel()
	now := &clock{at: time.Now()}
	r := newRig(t, options{api: func(c *api.Config) { c.Rate, c.Burst, c.Now = 2, 3, now.now }})
	ada := r.secret("ada", access.Reader)
	for i := range 5 {
		res, data := r.ask(ada, "GET", "/v1/self", nil)
		if i < 3 && res.StatusCode != 200 {
			t.Errorf("request %d: %s", i, res.Status)
		}
		if i >= 3 {
			r.problem(res, data, http.StatusTooManyRequests, task.CodeLimit)
			if res.Header.Get("Retry-After") != "1" {
				t.Errorf("Retry-After %q", res.Header.Get("Retry-After"))
			}
		}
	}
	if res, _ := r.ask(r.secret("bob", access.Reader), "GET", "/v1/self", nil); res.StatusCode != 200 {
		t.Errorf("somebody else: %s", res.Status)
	}
	now.pass(time.Second)
	if res, _ := r.ask(ada, "GET", "/v1/self", nil); res.StatusCode != 200 {
		t.Errorf("after a second: %s", res.Status)
	}
	guesses := 0
	for range 30 {
		res, _ := r.ask(access.SecretPrefix+strings.Repeat("x", 43), "GET", "/v1/self", nil)
		if res.StatusCode == http.StatusTooManyRequests {
			guesses++
		}
	}
	if guesses != 10 {
		t.Errorf("%d of 30 guesses were held up", guesses)
	}
}

// TestAudit: every change is written down, with who, what and how it ended.
func TestAudit(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	got := r.task()
	ada := r.client("ada", access.Caller)
	run := r.submit(ada)
	_, _ = ada.Submit(t.Context(), v1.RunRequest{Task: "none"}, client.SubmitOptions{})
	_, _ = ada.CreateToken(t.Context(), v1.TokenRequest{Account: "eve", Scopes: []string{"admin"}})
	want := map[string]string{
		"task.import " + got.ID + " ok": "root", "run.submit " + run.ID + " ok": "ada", "run.submit  missing": "ada", "token.create  access": "ada",
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for len(want) > 0 && ctx.Err() == nil {
		page, err := r.admin.Audit(ctx, client.AuditQuery{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Items {
			key := e.Action + " " + e.Subject + " " + e.Outcome
			if who, ok := want[key]; ok && who == e.Account && e.Token != "" && e.Remote == "127.0.0.1" {
				delete(want, key)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("not written down: %v", want)
	}
	_, err := ada.Audit(t.Context(), client.AuditQuery{})
	wantErr(t, err, task.CodeAccess, "scopes")
}
