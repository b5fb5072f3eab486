// The input `redis_group`: reads a stream of Redis in a consumer group and removes what was acked.
package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redpanda-data/benthos/v4/public/service"
)

var inputSpec = service.NewConfigSpec().Fields(
	service.NewURLField("url"),
	service.NewStringField("stream"),
	service.NewStringField("group"),
	service.NewIntField("limit").Description("Messages of one read").Default(100),
)

type input struct {
	client        *redis.Client
	stream, group string
	limit         int
	// Where to read on: first what an earlier run has left, then what is new (">").
	after string
	read  []redis.XMessage
}

func newInput(config *service.ParsedConfig, _ *service.Resources) (service.Input, error) {
	client, err := connect(config)
	if err != nil {
		return nil, err
	}
	in := &input{client: client, after: "0"}
	if in.stream, err = config.FieldString("stream"); err != nil {
		return nil, err
	}
	if in.group, err = config.FieldString("group"); err != nil {
		return nil, err
	}
	if in.limit, err = config.FieldInt("limit"); err != nil {
		return nil, err
	}
	return service.AutoRetryNacks(in), nil
}

func (i *input) Connect(ctx context.Context) error {
	err := i.client.XGroupCreateMkStream(ctx, i.stream, i.group, "0").Err()
	if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return err
	}
	return nil
}

func (i *input) Read(ctx context.Context) (*service.Message, service.AckFunc, error) {
	for len(i.read) == 0 {
		if err := i.fetch(ctx); err != nil {
			return nil, nil, err
		}
	}
	next := i.read[0]
	i.read = i.read[1:]
	event, _ := next.Values["event"].(string)
	return service.NewMessage([]byte(event)), func(ctx context.Context, _ error) error {
		pipe := i.client.Pipeline()
		pipe.XAck(ctx, i.stream, i.group, next.ID)
		pipe.XDel(ctx, i.stream, next.ID)
		_, err := pipe.Exec(ctx)
		return err
	}, nil
}

func (i *input) fetch(ctx context.Context) error {
	streams, err := i.client.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: i.group, Consumer: i.group, Streams: []string{i.stream, i.after},
		Count: int64(i.limit), Block: time.Second,
	}).Result()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	if err != nil {
		return err
	}
	i.read = streams[0].Messages
	if i.after != ">" {
		if len(i.read) == 0 {
			i.after = ">"
		} else {
			i.after = i.read[len(i.read)-1].ID
		}
	}
	return nil
}

func (i *input) Close(context.Context) error { return i.client.Close() }
