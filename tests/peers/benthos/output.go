// The output `redis_once`: adds a message to a stream of Redis unless its id was seen before.
package main

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redpanda-data/benthos/v4/public/service"
)

var outputSpec = service.NewConfigSpec().Fields(
	service.NewURLField("url"),
	service.NewStringField("stream"),
	service.NewInterpolatedStringField("id").Description("What tells repeats"),
	service.NewDurationField("ttl").Description("How long an id is remembered"),
	service.NewOutputMaxInFlightField().Default(256),
)

// Both or neither, however the connection ends.
var addOnce = redis.NewScript(`
if redis.call('SET', KEYS[1], '', 'NX', 'EX', ARGV[1]) then
	redis.call('XADD', KEYS[2], '*', 'event', ARGV[2])
end
return 1`)

type output struct {
	client *redis.Client
	stream string
	id     *service.InterpolatedString
	ttl    time.Duration
}

func newOutput(config *service.ParsedConfig, _ *service.Resources) (service.Output, int, error) {
	client, err := connect(config)
	if err != nil {
		return nil, 0, err
	}
	out := &output{client: client}
	if out.stream, err = config.FieldString("stream"); err != nil {
		return nil, 0, err
	}
	if out.id, err = config.FieldInterpolatedString("id"); err != nil {
		return nil, 0, err
	}
	if out.ttl, err = config.FieldDuration("ttl"); err != nil {
		return nil, 0, err
	}
	inFlight, err := config.FieldMaxInFlight()
	return out, inFlight, err
}

func connect(config *service.ParsedConfig) (*redis.Client, error) {
	url, err := config.FieldString("url")
	if err != nil {
		return nil, err
	}
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	return redis.NewClient(options), nil
}

func (o *output) Connect(ctx context.Context) error { return o.client.Ping(ctx).Err() }

func (o *output) Write(ctx context.Context, message *service.Message) error {
	id, err := o.id.TryString(message)
	if err != nil {
		return err
	}
	event, err := message.AsBytes()
	if err != nil {
		return err
	}
	return addOnce.Run(ctx, o.client, []string{"seen:" + id, o.stream}, int(o.ttl.Seconds()), event).Err()
}

func (o *output) Close(context.Context) error { return o.client.Close() }
