package image

import (
	"errors"
	"strconv"
	"strings"
)

// lookupOwner reads "user", "user:group" or numbers, with the names of the image.
func lookupOwner(v *view, text string) (owner, error) {
	user, group, hasGroup := strings.Cut(text, ":")
	o := owner{set: true}
	if id, err := strconv.ParseUint(user, 10, 31); err == nil {
		o.uid, o.gid = int(id), int(id)
		if !hasGroup {
			return o, nil
		}
	} else {
		fields, err := lookupName(v, "/etc/passwd", user, 4)
		if err != nil {
			return o, notInImage("user", user, "/etc/passwd", err)
		}
		uid, err1 := strconv.ParseUint(fields[2], 10, 31)
		gid, err2 := strconv.ParseUint(fields[3], 10, 31)
		if err1 != nil || err2 != nil {
			return o, notInImage("user", user, "/etc/passwd", errors.New("its entry has no numbers"))
		}
		o.uid, o.gid = int(uid), int(gid)
	}
	if !hasGroup {
		return o, nil
	}
	if id, err := strconv.ParseUint(group, 10, 31); err == nil {
		o.gid = int(id)
		return o, nil
	}
	fields, err := lookupName(v, "/etc/group", group, 3)
	if err != nil {
		return o, notInImage("group", group, "/etc/group", err)
	}
	gid, err := strconv.ParseUint(fields[2], 10, 31)
	if err != nil {
		return o, notInImage("group", group, "/etc/group", err)
	}
	o.gid = int(gid)
	return o, nil
}

func notInImage(kind, name, file string, err error) error {
	why := "not in " + file + " of the image"
	if KindOf(err) == KindNotFound && !errors.Is(err, errNoName) {
		why = "the image has no " + file
	}
	return &Error{Kind: KindNotFound, What: kind + " " + quoteText(name), Why: why, Hint: "add it before, or use its number", Err: err}
}

var errNoName = errors.New("no such name")

// lookupName finds the line of a name in a file of colon-separated fields.
func lookupName(v *view, file, name string, fields int) ([]string, error) {
	const most = 4 << 20
	data, err := v.readFile(file, most)
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(string(data), "\n") {
		f := strings.Split(line, ":")
		if len(f) >= fields && f[0] == name {
			return f, nil
		}
	}
	return nil, errNoName
}

// modeChange is what --chmod asks for: a number, or changes as chmod writes them.
type modeChange struct {
	set     bool
	bits    uint32
	clauses []modeClause
}

type modeClause struct {
	who  uint32 // mask of the bits that belong to those named
	op   byte   // one of + - =
	perm string // of rwxXst, or ugo for what those have
}

// parseMode reads "0755" or "u=rwX,go=rX".
func parseMode(text string) (*modeChange, error) {
	if n, err := strconv.ParseUint(text, 8, 32); err == nil && n <= 0o7777 {
		return &modeChange{set: true, bits: uint32(n)}, nil
	}
	bad := &Error{Kind: KindInvalid, What: "--chmod=" + text, Why: "neither octal digits up to 7777 nor changes", Hint: "for example 755 or u=rwX,go=rX"}
	m := &modeChange{}
	for _, part := range strings.Split(text, ",") {
		i := strings.IndexAny(part, "+-=")
		if i < 0 || strings.Trim(part[:i], "ugoa") != "" || strings.Trim(part[i+1:], "rwxXstugo") != "" {
			return nil, bad
		}
		c := modeClause{op: part[i], perm: part[i+1:]}
		for _, w := range part[:i] {
			switch w {
			case 'u':
				c.who |= 0o4700
			case 'g':
				c.who |= 0o2070
			case 'o':
				c.who |= 0o1007
			case 'a':
				c.who |= 0o7777
			}
		}
		if c.who == 0 {
			c.who = 0o7777
		}
		m.clauses = append(m.clauses, c)
	}
	return m, nil
}

func (m *modeChange) apply(mode uint32, isDir bool) uint32 {
	if m.set {
		return m.bits
	}
	for _, c := range m.clauses {
		var bits uint32
		for _, p := range c.perm {
			switch p {
			case 'r':
				bits |= 0o444
			case 'w':
				bits |= 0o222
			case 'x':
				bits |= 0o111
			case 'X':
				if isDir || mode&0o111 != 0 {
					bits |= 0o111
				}
			case 's':
				bits |= 0o6000
			case 't':
				bits |= 0o1000
			case 'u':
				bits |= mode >> 6 & 7 * 0o111
			case 'g':
				bits |= mode >> 3 & 7 * 0o111
			case 'o':
				bits |= mode & 7 * 0o111
			}
		}
		switch c.op {
		case '+':
			mode |= bits & c.who
		case '-':
			mode &^= bits & c.who
		case '=':
			mode = mode&^(c.who&0o777) | bits&c.who
		}
	}
	return mode
}
