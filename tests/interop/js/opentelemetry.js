// A program with OpenTelemetry's SDK: `node opentelemetry.js EXPORTER ENDPOINT`.
//
// It sends a trace and prints, as JSON, what the SDK says of its spans: what the backend must tell afterwards.
"use strict";

const { randomBytes } = require("node:crypto");
const api = require("@opentelemetry/api");
const { TraceState } = require("@opentelemetry/core");
const { resourceFromAttributes } = require("@opentelemetry/resources");
const sdk = require("@opentelemetry/sdk-trace-base");

const EXPORTERS = {
  json: ["@opentelemetry/exporter-trace-otlp-http", "OTLPTraceExporter"],
  protobuf: ["@opentelemetry/exporter-trace-otlp-proto", "OTLPTraceExporter"],
  grpc: ["@opentelemetry/exporter-trace-otlp-grpc", "OTLPTraceExporter"],
  zipkin: ["@opentelemetry/exporter-zipkin", "ZipkinExporter"],
};

const REMOTE = {
  traceId: randomBytes(16).toString("hex"),
  spanId: "b7ad6b7169203331",
  traceFlags: api.TraceFlags.SAMPLED,
  isRemote: true,
  traceState: new TraceState("vendor=1,other=t61rcWkgMzE"),
};

const ATTRIBUTES = {
  text: "Grüße aus Köln 🍵",
  "text.empty": "",
  "text.quoted": 'a "quoted", <marked> & \\escaped\\ \n second line',
  yes: true,
  no: false,
  integer: -42,
  "integer.large": Number.MAX_SAFE_INTEGER,
  float: 0.1,
  "float.tiny": 5e-324,
  "list.text": ["a", "b,c", "ä"],
  "list.integer": [1, -2, 3],
  "list.float": [0.5, 1.5],
  "list.boolean": [true, false],
  "list.holes": ["a", null, "c"],
  "list.empty": [],
};

// One trace: all kinds, both outcomes, events and links with attributes, and more attributes than its limit allows.
function trace(tracer) {
  const parent = api.trace.setSpanContext(api.ROOT_CONTEXT, REMOTE);
  const root = tracer.startSpan("POST /orders/{id}", { kind: api.SpanKind.SERVER, attributes: ATTRIBUTES }, parent);
  const inside = api.trace.setSpan(parent, root);
  root.addEvent("accepted");
  root.addEvent("queued", { queue: "orders", depth: 3, urgent: true, share: 0.25, tags: ["x", "y"] });

  const client = tracer.startSpan("POST", { kind: api.SpanKind.CLIENT, startTime: [1_700_000_000, 1_234_567] }, inside);
  client.recordException(new RangeError("no such lamp"));
  client.setStatus({ code: api.SpanStatusCode.ERROR, message: "402 Payment Required" });
  client.end([1_700_000_000, 987_654_321]);

  const other = { ...REMOTE, traceId: "f".repeat(32), traceState: new TraceState("a=b") };
  const links = [{ context: root.spanContext() }, { context: other, attributes: { why: "batch", size: 2 } }];
  tracer.startSpan("publish", { kind: api.SpanKind.PRODUCER, links }, inside).end();
  tracer.startSpan("process", { kind: api.SpanKind.CONSUMER, links: links.slice(1) }, inside).end();

  const full = tracer.startSpan("full", {}, inside);
  for (let i = 0; i < 40; i++) full.setAttribute(`key.${i}`, i);
  for (let i = 0; i < 5; i++) full.addEvent(`event ${i}`);
  full.setStatus({ code: api.SpanStatusCode.ERROR });
  full.end();

  root.setStatus({ code: api.SpanStatusCode.OK });
  root.end();
}

function nanoseconds([seconds, rest]) {
  return String(BigInt(seconds) * 1_000_000_000n + BigInt(rest));
}

function described(span) {
  const context = span.spanContext();
  const scope = span.instrumentationScope;
  return {
    traceId: context.traceId,
    spanId: context.spanId,
    parentSpanId: span.parentSpanContext?.spanId ?? "",
    traceState: context.traceState?.serialize() ?? "",
    name: span.name,
    kind: api.SpanKind[span.kind],
    start: nanoseconds(span.startTime),
    end: nanoseconds(span.endTime),
    attributes: span.attributes,
    events: span.events.map((one) => [one.name, nanoseconds(one.time), one.attributes ?? {}]),
    links: span.links.map(({ context: to, attributes }) => [
      to.traceId,
      to.spanId,
      to.traceState?.serialize() ?? "",
      attributes ?? {},
    ]),
    status: api.SpanStatusCode[span.status.code],
    message: span.status.message ?? "",
    dropped: [span.droppedAttributesCount, span.droppedEventsCount, span.droppedLinksCount],
    scope: [scope.name, scope.version ?? "", scope.schemaUrl ?? ""],
    resource: span.resource.attributes,
  };
}

async function main([exporter, url]) {
  const [packageName, className] = EXPORTERS[exporter];
  const compression = exporter === "protobuf" ? "gzip" : "none";
  const made = new sdk.InMemorySpanExporter();
  const provider = new sdk.BasicTracerProvider({
    resource: resourceFromAttributes({ "service.name": "js", share: 0.5, list: ["a", "b"], "process.pid": process.pid }),
    spanLimits: { attributeCountLimit: 32, eventCountLimit: 4 },
    spanProcessors: [
      new sdk.SimpleSpanProcessor(made),
      new sdk.BatchSpanProcessor(new (require(packageName)[className])({ url, compression })),
    ],
  });
  trace(provider.getTracer("lib", "1.2", { schemaUrl: "https://schema.example/2" }));
  api.diag.setLogger(new api.DiagConsoleLogger(), api.DiagLogLevel.WARN); // what it says now is about the backend
  await provider.forceFlush();
  const spans = made.getFinishedSpans().map(described);
  await provider.shutdown();
  console.log(JSON.stringify(spans));
}

main(process.argv.slice(2));
