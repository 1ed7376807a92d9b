package api

import (
	"bytes"
	"encoding/json"

	"longshore/internal/access"
)

// Document is the API as OpenAPI 3.1, in JSON with sorted names.
func (a *API) Document() ([]byte, error) {
	raw, err := json.Marshal(a.huma.OpenAPI())
	if err != nil {
		return nil, err
	}
	var sorted any
	if err := json.Unmarshal(raw, &sorted); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err = enc.Encode(sorted)
	return b.Bytes(), err
}

// Route is one thing that the API can be asked.
type Route struct {
	ID, Method, Path string
	Tag, Summary     string
	Public           bool           // open to everybody
	Scopes           []access.Scope // who may, beside administrators
}

// Routes lists all of them, in the order of the reference.
func (a *API) Routes() []Route { return a.table }
