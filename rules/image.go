package rules

import (
	"encoding/json"

	"vfsb/cache"
	"vfsb/engine"
	"vfsb/engine/artifact"
)

// image { rootfs = label config { … } } is an OCI image of a rootfs. Its layer is an
// OCI layout, which build delivers as an archive.
func image(t *engine.Target) *engine.Step {
	a, blocks := t.Attributes([]string{"rootfs", "profiles", "stage"}, "config")
	step := &engine.Step{Rule: "image/1", Builtin: engine.BuiltinOCI, Deliver: engine.DeliverOCI}
	if label := a.String("rootfs"); label != "" {
		step.Contents = t.EdgeList([]string{label}, a.Range("rootfs"))
	} else {
		t.Errorf(t.Target.Range, "%s lacks rootfs; name the target whose files it holds", t.Label())
	}
	config := artifact.ImageConfig{OS: "linux"}
	config.Architecture, config.Variant = ociArch(t.Platform.Arch)
	for _, b := range blocks {
		c := t.BlockAttributes(b, "entrypoint", "cmd", "env", "workdir", "user", "labels", "ref")
		config.Entrypoint, config.Cmd = c.Strings("entrypoint"), c.Strings("cmd")
		config.Env, config.Labels = c.Strings("env"), c.StringMap("labels")
		config.WorkingDir, config.User, config.Ref = c.String("workdir"), c.String("user"), c.String("ref")
		t.Diags = append(t.Diags, c.Diags...)
	}
	text, err := json.Marshal(config)
	if err != nil {
		t.Errorf(t.Target.Range, "image: %v", err)
	}
	step.Settings = []cache.Field{{Name: engine.SettingImage, Value: string(text)}}
	t.Diags = append(t.Diags, a.Diags...)
	return step
}

// ociArch is the platform's architecture in OCI's names.
func ociArch(arch string) (architecture, variant string) {
	switch arch {
	case "i686":
		return "386", ""
	case "armv7":
		return "arm", "v7"
	}
	return arch, ""
}
