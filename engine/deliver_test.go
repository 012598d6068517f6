package engine

import (
	"testing"

	"vfsb/engine/load"
)

// TestArtifactName: a package of one profile needs no more than the architecture in its artifacts' names.
func TestArtifactName(t *testing.T) {
	for _, c := range []struct{ target, profile, want string }{
		{"", "", "box-arm64-seed"},
		{"rootfs", "musl", "box-arm64"},
		{"image", "musl", "box-arm64"},
		{"devel-rootfs", "musl", "box-devel-arm64"},
		{"devel-image", "", "box-devel-arm64-seed"},
		{"images", "musl", "box-images-arm64"},
	} {
		n := &Node{Config: load.Config{
			Target:   &load.Target{Name: c.target, Package: &load.Package{Name: "box", Profile: c.profile}},
			Platform: &load.Platform{Name: "arm64-seed", Arch: "arm64"},
		}}
		if got := artifactName(n); got != c.want {
			t.Errorf("target %q, profile %q: %s, want %s", c.target, c.profile, got, c.want)
		}
	}
}
