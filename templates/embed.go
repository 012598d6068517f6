// Package templates holds the shipped rule kinds and their templates.
package templates

import "embed"

// Files is the rule kinds and the templates.
//
//go:embed *.hcl *.j2
var Files embed.FS
