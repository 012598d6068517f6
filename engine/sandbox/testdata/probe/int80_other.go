//go:build !amd64

package main

func otherTables() {}

var otherBreaches []breach
