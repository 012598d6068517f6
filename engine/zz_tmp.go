package engine

import (
	"context"
	"errors"

	"vfsb/cache"
	"vfsb/engine/source"
)

func tmpFetchImage(f any, ctx context.Context, s source.ImageSeed) ([]cache.Digest, error) {
	if i, ok := f.(interface {
		FetchImage(context.Context, source.ImageSeed) ([]cache.Digest, error)
	}); ok {
		return i.FetchImage(ctx, s)
	}
	return nil, errors.New("no FetchImage yet")
}
