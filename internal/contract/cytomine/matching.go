package cytomine

import (
	"fmt"
	"slices"

	"longshore/internal/task"
)

// mismatch is an array that does not match another one.
type mismatch struct {
	parameter task.Parameter
	problem
}

// mismatches compares arrays that are declared to match. Matching counts in both directions and through others; known holds
// the indexes of the arrays that are there, by parameter ("inputs/a"). Each array is compared with the first of its group.
func mismatches(t *task.Task, known map[string][]int) []mismatch {
	group := groups(t)
	first := map[string]task.Parameter{}
	var list []mismatch
	for _, p := range t.Parameters {
		indexes, ok := known[key(p)]
		if !ok {
			continue
		}
		lead, ok := first[group[key(p)]]
		if !ok {
			first[group[key(p)]] = p
			continue
		}
		message := ""
		switch want := known[key(lead)]; {
		case len(indexes) != len(want):
			message = "collections don't have the same size"
		case !slices.Equal(indexes, want):
			message = "collections indexes are not aligned"
		default:
			continue
		}
		list = append(list, mismatch{p, problem{
			code: codeNotMatching, message: message,
			why:  fmt.Sprintf("it has %d items, and %s %s, which it matches, has %d", len(indexes), lead.Direction, lead.Name, len(known[key(lead)])),
			mend: "give both the same items",
		}})
	}
	return list
}

// groups names, for each parameter, the group of those it matches, directly or through others.
func groups(t *task.Task) map[string]string {
	group := map[string]string{}
	for _, p := range t.Parameters {
		group[key(p)] = key(p)
	}
	for _, p := range t.Parameters {
		for _, ref := range p.Type.Matching {
			from, ok := group[ref]
			if to := group[key(p)]; ok && from != to {
				for k, g := range group {
					if g == from {
						group[k] = to
					}
				}
			}
		}
	}
	return group
}

// upTo lists the indexes of an array of n items.
func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}
