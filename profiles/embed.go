// Package profiles holds the shipped profiles and platforms.
package profiles

import "embed"

// Files is every profile's folder.
//
//go:embed */*.hcl
var Files embed.FS
