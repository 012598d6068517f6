// Package packages holds the shipped packages, and their tests.
package packages

import "embed"

// Files is every package's folder. A plain file beside the folders is no part of it.
//
//go:embed all:*/*
var Files embed.FS
