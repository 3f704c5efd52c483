// A TCP relay whose connections can be cut, as a bad network does.

import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

export class Relay {
  connections = 0;
  readonly #listener: Server;
  #sockets: Socket[] = [];

  private constructor(server: URL) {
    this.#listener = createServer((near) => {
      const far = connect(Number(server.port), server.hostname);
      this.connections += 1;
      this.#sockets.push(near, far);
      for (const socket of [near, far]) {
        socket.on("error", () => {});
      }
      near.pipe(far).pipe(near);
    });
  }

  static async start(server: string): Promise<Relay> {
    const relay = new Relay(new URL(server));
    relay.#listener.listen(0, "127.0.0.1");
    await once(relay.#listener, "listening");
    return relay;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#listener.address() as AddressInfo).port}`;
  }

  /** Ends all connections. New ones are accepted. */
  cut(): void {
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    this.#sockets = [];
  }

  stop(): void {
    this.cut();
    this.#listener.close();
  }
}
