package cytomine

import (
	"strings"

	"longshore/internal/task"
)

// typeFor returns the type that people mean by a word of other languages and schemas, "" when it is not known.
func typeFor(word string) task.Kind {
	switch strings.ToLower(word) {
	case "int", "int32", "int64", "long", "short":
		return task.Integer
	case "float", "double", "decimal", "real", "numeric":
		return task.Number
	case "bool", "flag":
		return task.Boolean
	case "str", "text", "char":
		return task.String
	case "enum", "choice", "select", "option":
		return task.Enumeration
	case "date", "time", "timestamp":
		return task.Datetime
	case "geojson", "polygon", "annotation", "point", "shape":
		return task.Geometry
	case "list", "collection", "sequence":
		return task.Array
	case "picture", "slide", "png", "jpeg", "jpg", "tiff", "dicom", "wsidicom":
		return task.Image
	case "binary", "csv", "path", "bytes":
		return task.FileKind
	}
	return ""
}

// keyFor returns the key that people mean by a word of other schemas, "" when it is not known.
func keyFor(word string) string {
	switch strings.ToLower(word) {
	case "min", "minimum", "ge", "gte":
		return "geq"
	case "max", "maximum", "le", "lte":
		return "leq"
	case "options", "choices", "enum", "allowed":
		return "values"
	case "items", "item", "element", "elements":
		return "subtype"
	case "minlength", "min_len":
		return "min_length"
	case "maxlength", "max_len":
		return "max_length"
	case "minitems", "min_items":
		return "min_size"
	case "maxitems", "max_items":
		return "max_size"
	case "memory", "mem":
		return "ram"
	case "cpu", "cores":
		return "cpus"
	case "gpu":
		return "gpus"
	case "network":
		return "internet"
	case "title", "label":
		return "display_name"
	}
	return ""
}
