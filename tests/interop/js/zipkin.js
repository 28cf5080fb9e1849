// A program with zipkin-js: `node zipkin.js JSON_V1|JSON_V2 ENDPOINT`.
//
// It sends a trace of two services and prints, as JSON, its spans as version 2 writes them: what the backend must tell
// afterwards.
"use strict";

const fetch = require("node-fetch");
const { Annotation, BatchRecorder, ExplicitContext, InetAddress, Instrumentation, Tracer, jsonEncoder, option } =
  require("zipkin");
const { HttpLogger } = require("zipkin-transport-http");

const context = new ExplicitContext();

// A call, as instrumentations for HTTP record it.
function call(front, back) {
  const client = new Instrumentation.HttpClient({ tracer: front, remoteServiceName: "back" });
  context.scoped(() => {
    const { headers } = client.recordRequest({ headers: {} }, "http://back.example/items?id=ä", "GET");
    const id = front.id;
    front.recordMessage("sent");
    context.scoped(() => serve(back, headers));
    client.recordResponse(id, "200");
  });
}

// The other side shares the caller's span, and fails.
function serve(back, headers) {
  const server = new Instrumentation.HttpServer({ tracer: back, port: 8080 });
  const header = (name) => (name in headers ? new option.Some(headers[name]) : option.None);
  const id = server.recordRequest("GET", "http://back.example/items", header);
  back.setId(id);
  const client = { serviceName: "front", host: new InetAddress("192.0.2.7"), port: 443 };
  back.recordAnnotation(new Annotation.ClientAddr(client));
  back.recordBinary("n", 1);
  server.recordResponse(id, "500", new Error("no such item"));
}

// Messages, which have kinds of their own.
function publish(front) {
  const at = { serviceName: "kafka", host: new InetAddress("192.0.2.8"), port: 9092 };
  for (const kind of ["Producer", "Consumer"]) {
    context.scoped(() => {
      front.setId(front.createChildId());
      front.recordServiceName("front");
      front.recordRpc("orders");
      front.recordAnnotation(new Annotation[`${kind}Start`]());
      front.recordAnnotation(new Annotation.MessageAddr(at));
      front.recordAnnotation(new Annotation[`${kind}Stop`]());
    });
  }
}

function main([encoding, endpoint]) {
  const logger = new HttpLogger({ endpoint, jsonEncoder: jsonEncoder[encoding], fetchImplementation: fetch });
  const spans = [];
  const both = {
    logSpan(span) {
      spans.push(JSON.parse(jsonEncoder.JSON_V2.encode(span)));
      logger.logSpan(span);
    },
  };
  logger.on("error", (error) => {
    console.error(error);
    process.exit(1);
  });
  logger.on("success", () => {
    console.log(JSON.stringify(spans));
    process.exit(0);
  });
  const recorder = new BatchRecorder({ logger: both });
  const [front, back] = ["front", "back"].map(
    (localServiceName) => new Tracer({ ctxImpl: context, recorder, localServiceName, traceId128Bit: true }),
  );
  front.local("handle", () => {
    call(front, back);
    publish(front);
  });
  logger.processQueue(fetch);
  setTimeout(() => process.exit(2), 60_000); // what waits for an answer does not keep a process alive
}

main(process.argv.slice(2));
