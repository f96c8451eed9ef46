// The way in: user name and password, or the button on the device.

import { useEffect, useState } from "../lib/hooks.js";
import { get } from "../api.js";
import { ended, isNew, login, look } from "../session.js";
import { t, versionName } from "../texts.js";
import { Input, Panel, Problem, html, useAction } from "../ui.js";

export function Login() {
  const [username, setUsername] = useState("admin");
  const [password, setPassword] = useState("");
  const [version, setVersion] = useState(null);
  const [enter, busy, error] = useAction(async () => {
    await login(username, password).finally(() => setPassword(""));
  });
  useEffect(() => {
    document.title = `${t("login.title")} – MC252`;
    get("version/").then(setVersion, () => {});
  }, []);
  const submit = (event) => (event.preventDefault(), enter());
  return html`<div class="entrance">
    <h1>${version?.device ?? "MC252"}</h1>
    ${ended.value && html`<p class="notice warn" role="status">${t("ended." + ended.value)}</p>`}
    ${isNew.value ? html`<${Press} title=${t("start.title")} text=${t("start.press")} />` : html`
      <${Panel} title=${t("login.title")}>
        <form onSubmit=${submit}>
          <${Input} label=${t("login.user")} value=${username} onValue=${setUsername} autocomplete="username" required maxlength="64" />
          <${Input} label=${t("login.password")} type="password" value=${password} onValue=${setPassword} autocomplete="current-password" required autofocus />
          <button class="main" aria-busy=${busy} disabled=${busy}>${t("login.in")}</button>
          <${Problem} error=${error} />
        </form>
      <//>
      <${Press} title=${t("login.button.title")} text=${t("login.button")} />`}
    ${version && html`<p class="dim">${t("login.version", { version: versionName(version.firmwareVer), date: version.releaseDate.slice(0, 10) })}</p>`}
  </div>`;
}

function Press({ title, text }) {
  return html`<${Panel} title=${title}>
    <p>${text}</p>
    <p class="waiting" role="status"><span class="pulse" aria-hidden="true"></span>${t("login.waiting")}</p>
    <button class="quiet" onClick=${() => look().catch(() => {})}>${t("login.look")}</button>
  <//>`;
}
