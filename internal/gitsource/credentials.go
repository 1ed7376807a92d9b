package gitsource

import (
	"net/url"
	"strings"
	"unicode"

	"longshore/internal/task"
)

// CredentialsVariable is the environment variable that holds credentials for hosts, as addresses with a user and a password,
// or a token, divided by blanks: "https://user:token@host https://token@other/group/". One with a path is for what lies below
// it. They go to that scheme and host alone, whatever address a manifest names, and only when the address has none of its own.
const CredentialsVariable = "LONGSHORE_GIT_CREDENTIALS"

// withCredentials completes an address from the list. Errors show nothing of it.
func (r remote) withCredentials(list string) (remote, error) {
	if r.secret || r.scope == "" {
		return r, nil
	}
	longest := -1
	for _, entry := range strings.Fields(list) {
		u, err := url.Parse(entry)
		if err != nil || u.Host == "" || u.User == nil || strings.ContainsFunc(u.User.String(), unicode.IsControl) {
			return r, (&task.Error{Code: task.CodeUsage, Message: CredentialsVariable + " holds something that is no address with credentials"}).
				WithHint("write https://user:token@host, divided by blanks")
		}
		own, err := url.Parse(r.address)
		if err != nil || !strings.EqualFold(u.Scheme, r.scheme) || !strings.EqualFold(u.Host, own.Host) || !below(u.Path, own.Path) || len(u.Path) <= longest {
			continue
		}
		longest = len(u.Path)
		password, _ := u.User.Password()
		r.username, r.password, r.secret = u.User.Username(), password, true
	}
	return r, nil
}

// below tells whether a path is another, or lies in it.
func below(folder, path string) bool {
	folder = strings.TrimSuffix(folder, "/")
	return path == folder || strings.HasPrefix(path, folder+"/")
}
