package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"regexp"
	"slices"
	"sync"
	"time"

	"longshore/internal/store"
	"longshore/internal/task"
)

// SecretPrefix begins every secret, so that scanners find one that was published by mistake.
const SecretPrefix = "lsk_"

// AdminAccount is the account of the one-time link.
const AdminAccount = "admin"

// SessionLife is how long a browser stays signed in.
const SessionLife = 12 * time.Hour

// sessionName is the name of tokens that are sessions.
const sessionName = "session of the web page"

// Keeper lets people in. It is safe for concurrent use.
type Keeper struct {
	store store.Accounts
	now   func() time.Time

	mu      sync.Mutex
	codes   map[string]time.Time // hash of a one-time code: when it ends
	touched map[string]time.Time // by token, of the last minute
	under   sync.WaitGroup
}

// NewKeeper makes a keeper. now may be nil.
func NewKeeper(s store.Accounts, now func() time.Time) *Keeper {
	if now == nil {
		now = time.Now
	}
	return &Keeper{store: s, now: now, codes: map[string]time.Time{}, touched: map[string]time.Time{}}
}

// Close waits for notes under way.
func (k *Keeper) Close() { k.under.Wait() }

// Denied is the error of somebody who is not let in, or may not do it.
func Denied(format string, args ...any) *task.Error {
	return task.Errorf(task.CodeAccess, format, args...)
}

// ErrUnknown is the cause of errors about who somebody is, as against what they may do.
var ErrUnknown = errors.New("not signed in")

func unknown(message, hint string) error {
	return &task.Error{Code: task.CodeAccess, Message: message, Hint: hint, Cause: ErrUnknown}
}

var validSecret = regexp.MustCompile(`^lsk_[A-Za-z0-9_-]{43}$`)

// newSecret is 32 random bytes in letters, and their hash.
func newSecret(prefix string) (secret, hash string) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	secret = prefix + base64.RawURLEncoding.EncodeToString(b[:])
	return secret, hashOf(secret)
}

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// Check answers whose secret it is. An error with the cause ErrUnknown tells that nobody is let in by it; others are the
// database's.
func (k *Keeper) Check(ctx context.Context, secret string) (*Principal, error) {
	const ask = "ask an administrator for a new one: `longshore token create`"
	if !validSecret.MatchString(secret) {
		return nil, unknown("the token is not one of Longshore's: it begins with "+SecretPrefix+" and has 47 characters", "check that all of it was copied")
	}
	t, err := k.store.TokenByHash(ctx, hashOf(secret))
	if errors.Is(err, store.ErrNotFound) {
		return nil, unknown("the token is not known to this server", ask)
	}
	if err != nil {
		return nil, DatabaseError(err)
	}
	now := k.now()
	switch {
	case !t.RevokedAt.IsZero():
		return nil, unknown("the token was revoked on "+day(t.RevokedAt), ask)
	case !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt):
		return nil, unknown("the token expired on "+day(t.ExpiresAt), ask)
	}
	a, err := k.store.Account(ctx, t.Account)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, unknown("the token's account "+t.Account+" is gone", ask)
	case err != nil:
		return nil, DatabaseError(err)
	case a.Disabled:
		return nil, unknown("the account "+t.Account+" is disabled", "ask an administrator")
	}
	k.touch(ctx, t, now)
	p := &Principal{Account: t.Account, Token: t.ID, Name: t.Name, ExpiresAt: t.ExpiresAt}
	for _, s := range t.Scopes {
		p.Scopes = append(p.Scopes, Scope(s))
	}
	return p, nil
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// DatabaseError is an error of the store for people: of a text that it cannot keep, or of a database that is away.
func DatabaseError(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, store.ErrInvalid):
		return &task.Error{Code: task.CodeUsage, Message: "a text of the request is not UTF-8, or holds a zero byte", Hint: "leave it out", Cause: err}
	}
	return &task.Error{Code: task.ReasonEngine, Message: "the server's database does not answer", Hint: "try again; nothing was accepted that was not answered for", Cause: err}
}

// touch notes the use of a token, at most once a minute, beside the request.
func (k *Keeper) touch(ctx context.Context, t store.Token, now time.Time) {
	if now.Sub(t.LastUsedAt) < time.Minute && !t.LastUsedAt.IsZero() {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Sub(k.touched[t.ID]) < time.Minute {
		return
	}
	for id, at := range k.touched {
		if now.Sub(at) >= time.Minute {
			delete(k.touched, id)
		}
	}
	k.touched[t.ID] = now
	k.under.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = k.store.TouchToken(ctx, t.ID, now.UTC()) // it is shown to people only; the next use tries again
	})
}

// Grant says what a token shall be.
type Grant struct {
	Account, Name string
	Scopes        []Scope
	// Life is how long it counts; zero means for ever.
	Life time.Duration
}

var accountName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._@-]{0,126}[A-Za-z0-9])?$`)

// CheckAccountName tells what is wrong with a name.
func CheckAccountName(name string) error {
	if !accountName.MatchString(name) {
		return task.Errorf(task.CodeUsage, "%q is no account's name", name).WithHint("use up to 128 letters, digits and ._@-, beginning and ending with a letter or digit")
	}
	return nil
}

// Create makes a token, and its account where there is none. The secret is not kept.
func (k *Keeper) Create(ctx context.Context, g Grant) (t store.Token, secret string, err error) {
	if err := CheckAccountName(g.Account); err != nil {
		return t, "", err
	}
	if g.Life < 0 {
		return t, "", task.Errorf(task.CodeUsage, "a token cannot have expired before it is made")
	}
	if len(g.Scopes) == 0 {
		return t, "", task.Errorf(task.CodeUsage, "a token needs a scope").WithHint("the scopes are: %s", Names(Scopes()))
	}
	for _, s := range g.Scopes {
		if !slices.Contains(Scopes(), s) {
			return t, "", task.Errorf(task.CodeUsage, "there is no scope %q", s).WithHint("the scopes are: %s", Names(Scopes()))
		}
		if !slices.Contains(t.Scopes, string(s)) {
			t.Scopes = append(t.Scopes, string(s))
		}
	}
	now := k.now().UTC().Truncate(time.Microsecond)
	if _, err := k.store.Account(ctx, g.Account); errors.Is(err, store.ErrNotFound) {
		err = k.store.PutAccount(ctx, store.Account{Name: g.Account, CreatedAt: now})
		if err != nil {
			return t, "", DatabaseError(err)
		}
	} else if err != nil {
		return t, "", DatabaseError(err)
	}
	secret, t.Hash = newSecret(SecretPrefix)
	t.ID, t.Name, t.Account, t.CreatedAt = "k"+t.Hash[:15], g.Name, g.Account, now
	if g.Life > 0 {
		t.ExpiresAt = now.Add(g.Life)
	}
	if err := k.store.AddToken(ctx, t); err != nil {
		return t, "", DatabaseError(err)
	}
	return t, secret, nil
}

// Revoke ends a token. One that was revoked before stays so.
func (k *Keeper) Revoke(ctx context.Context, id string) error {
	err := k.store.RevokeToken(ctx, id, k.now().UTC())
	if errors.Is(err, store.ErrNotFound) {
		return task.Errorf(task.CodeMissing, "there is no token %s", id).WithHint("`longshore token list` lists them")
	}
	if err != nil {
		return DatabaseError(err)
	}
	return nil
}

// List lists an account's tokens, or all for "".
func (k *Keeper) List(ctx context.Context, account string) ([]store.Token, error) {
	list, err := k.store.ListTokens(ctx, account)
	if err != nil {
		return nil, DatabaseError(err)
	}
	return list, nil
}

// The life of a one-time code, and how many may wait to be used.
const (
	codeLife = 10 * time.Minute
	maxCodes = 100
)

// LoginCode makes a code that lets an administrator in once, within ten minutes. It is for somebody who sits at the server.
func (k *Keeper) LoginCode() string {
	code, hash := newSecret("")
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dropCodes()
	if len(k.codes) < maxCodes {
		k.codes[hash] = k.now().Add(codeLife)
	}
	return code
}

func (k *Keeper) dropCodes() {
	for hash, until := range k.codes {
		if !k.now().Before(until) {
			delete(k.codes, hash)
		}
	}
}

// Redeem turns a code into a session of the administrator. The code counts no more, whatever comes of it.
func (k *Keeper) Redeem(ctx context.Context, code string) (secret string, err error) {
	hash := hashOf(code)
	k.mu.Lock()
	k.dropCodes()
	_, ok := k.codes[hash]
	delete(k.codes, hash)
	k.mu.Unlock()
	if !ok {
		return "", unknown("the link was used before, or is older than ten minutes", "it counts once; `longshore serve --login-link` prints a new one, and `longshore token create` makes a token to sign in with")
	}
	_, secret, err = k.Create(ctx, Grant{Account: AdminAccount, Name: sessionName, Scopes: []Scope{Admin}, Life: SessionLife})
	return secret, err
}

// SignOut ends a session that Redeem made; a token that somebody signed in with stays.
func (k *Keeper) SignOut(ctx context.Context, p *Principal) error {
	if p.Name != sessionName {
		return nil
	}
	return k.Revoke(ctx, p.Token)
}
