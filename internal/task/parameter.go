package task

import (
	"slices"
	"time"
)

// Direction tells inputs from outputs.
type Direction string

// The directions.
const (
	Input  Direction = "input"
	Output Direction = "output"
)

// Parameter is one named, typed input or output.
type Parameter struct {
	Name      string    `json:"name"`
	Direction Direction `json:"direction"`
	// Aliases are further names callers may use.
	Aliases     []string `json:"aliases,omitempty"`
	Title       string   `json:"title,omitempty"`
	Description string   `json:"description,omitempty"`
	Type        Type     `json:"type"`
	// Optional inputs may be left out; optional outputs may be missing.
	Optional bool `json:"optional,omitempty"`
	// Default is used when no value is given, nil when there is none.
	Default *Value `json:"default,omitempty"`
	// Fixed inputs are shown and cannot be changed: only their default is accepted.
	Fixed bool  `json:"fixed,omitempty"`
	Place Place `json:"place"`
}

// answersToAny tells whether one of names is the parameter's name or an alias of it.
func (p *Parameter) answersToAny(names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return n == p.Name || slices.Contains(p.Aliases, n) })
}

// Place says where a value goes, or is found.
type Place struct {
	Kind PlaceKind `json:"kind"`
	// Path is an absolute path in the container for PlaceFile and PlaceFolder.
	Path string `json:"path,omitempty"`
	// Name is the variable for PlaceEnv and the member of the JSON object for PlaceBodyMember.
	Name string `json:"name,omitempty"`
}

// PlaceKind is a kind of place.
type PlaceKind string

// The places.
const (
	PlaceFile       PlaceKind = "file"        // one file (or, for arrays, one folder) per parameter, at Path
	PlaceFolder     PlaceKind = "folder"      // a folder mounted at Path
	PlaceEnv        PlaceKind = "env"         // an environment variable
	PlaceArgs       PlaceKind = "args"        // words of the command line
	PlaceBody       PlaceKind = "body"        // the whole request or response body
	PlaceBodyMember PlaceKind = "body-member" // a member of the JSON object that is the request body
	PlaceNone       PlaceKind = "none"        // used by Longshore itself (a digest), not by the container
)

// Kind is a kind of value.
type Kind string

// The kinds. The comment says what a Value of the kind holds.
const (
	Boolean     Kind = "boolean"     // Text "true" or "false"
	Integer     Kind = "integer"     // Text, decimal, any size
	Number      Kind = "number"      // Text, a JSON number, or "NaN", "Infinity", "-Infinity"
	String      Kind = "string"      // Text
	Enumeration Kind = "enumeration" // Text, one of Type.Choices
	Datetime    Kind = "datetime"    // Text, RFC 3339
	Geometry    Kind = "geometry"    // Text, a GeoJSON document
	Image       Kind = "image"       // Path: a file, or a folder for formats that are folders
	FileKind    Kind = "file"        // Path: a file
	Directory   Kind = "directory"   // Path: a folder
	JSON        Kind = "json"        // Text, any JSON document
	Array       Kind = "array"       // Items, each of Type.Item
)

// OnDisk tells whether values of the kind are files or folders.
func (k Kind) OnDisk() bool { return k == Image || k == FileKind || k == Directory }

// Type is a kind with its constraints. Nil pointers and empty lists mean no constraint.
type Type struct {
	Kind Kind  `json:"kind"`
	Item *Type `json:"item,omitempty"` // of an array, never nil there

	// Bounds of integers and numbers, as decimal text.
	GT Decimal `json:"gt,omitempty"`
	GE Decimal `json:"ge,omitempty"`
	LT Decimal `json:"lt,omitempty"`
	LE Decimal `json:"le,omitempty"`
	// Numbers that may be infinite or NaN.
	AllowInfinity bool `json:"allowInfinity,omitempty"`
	AllowNaN      bool `json:"allowNaN,omitempty"`
	// Lengths of strings in code points.
	MinLength *int `json:"minLength,omitempty"`
	MaxLength *int `json:"maxLength,omitempty"`
	// Choices of an enumeration, compared exactly.
	Choices []string `json:"choices,omitempty"`
	// AllowEmpty accepts the empty text whatever else is said (Kaapana: "" means unset).
	AllowEmpty bool `json:"allowEmpty,omitempty"`
	// Verbatim keeps the text of a value exactly as it was given: the kind only checks it. JSON of any kind is accepted and
	// becomes text; null means not set.
	Verbatim bool `json:"verbatim,omitempty"`
	// Before and After bound datetimes, inclusive.
	Before *time.Time `json:"before,omitempty"`
	After  *time.Time `json:"after,omitempty"`
	// Formats of files and images, lower case ("png", "tiff", "wsidicom").
	Formats   []string `json:"formats,omitempty"`
	MaxBytes  *Bytes   `json:"maxBytes,omitempty"`
	MaxWidth  *int     `json:"maxWidth,omitempty"`
	MaxHeight *int     `json:"maxHeight,omitempty"`
	// URLs accepts, in place of a file, an http or https address as text, from which the operator's rules let it be fetched.
	URLs bool `json:"urls,omitempty"`
	// MinItems and MaxItems bound arrays, inclusive.
	MinItems *int `json:"minItems,omitempty"`
	MaxItems *int `json:"maxItems,omitempty"`
	// Indexed lets a list be given as objects of index and value, too: [{"index":0,"value":4}].
	Indexed bool `json:"indexed,omitempty"`
	// Matching names other array parameters ("inputs/a") that must have the same size.
	Matching []string `json:"matching,omitempty"`
}

// Decimal is a decimal number as text; "" means none.
type Decimal string
