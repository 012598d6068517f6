// Package lock holds the lock file of the shipped packages. It lies in this folder since
// embedding reaches no file above a package's own.
package lock

import _ "embed"

// JSON is the lock file.
//
//go:embed lock.json
var JSON []byte
