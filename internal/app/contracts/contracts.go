// Package contracts is the list of contracts, for the two programs that need them all: the command, and the program inside
// converted images, which must stay small and so links nothing else of app.
package contracts

import (
	"longshore/internal/contract"
	"longshore/internal/contract/cytomine"
	"longshore/internal/contract/iexec"
	"longshore/internal/contract/kaapana"
	"longshore/internal/contract/meca"
	"longshore/internal/contract/racetrack"
)

// All is the list of contracts. A new one is its folder and one line here.
func All() []contract.Contract {
	return []contract.Contract{
		meca.New(),
		cytomine.New(),
		kaapana.New(),
		iexec.New(),
		racetrack.New(),
	}
}
