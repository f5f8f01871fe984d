// Grafana's own front-end code, asked what it makes of our data sources and boards. Bundled by `install`, run in Chromium.
import { transformV2 } from './node_modules/@grafana/prometheus/dist/esm/result_transformer.mjs';
import { setDataSourceSrv } from '@grafana/runtime';
import { EmbeddedScene, SceneFlexItem, SceneFlexLayout, SceneTimeRange, SceneVariableSet, TextBoxVariable, VizPanel, sceneGraph } from '@grafana/scenes';
import {
  FieldConfigOptionsRegistry, FieldType, LoadingState, applyFieldOverrides, createTheme, dateTime, locationUtil, standardTransformers, toDataFrame,
} from '@grafana/data';

const kinds = { number: FieldType.number, string: FieldType.string };
const frameOf = (columns) =>
  toDataFrame({
    refId: 'A',
    fields: columns.map(({ name, type, values, config }) => ({ name, config: config ?? {}, values, type: type ?? kinds[typeof values[0]] })),
  });

function panelWith(variables) {
  locationUtil.initialize({
    config: { appSubUrl: '' },
    getVariablesUrlParams: () => ({}),
    getTimeRangeForUrl: () => ({ from: 'now-1h', to: 'now' }),
  });
  const panel = new VizPanel({ pluginId: 'table', title: 'x' });
  const boxes = Object.entries(variables).map(([name, value]) => new TextBoxVariable({ name, value }));
  new EmbeddedScene({
    $timeRange: new SceneTimeRange({ from: 'now-1h', to: 'now' }),
    $variables: new SceneVariableSet({ variables: boxes }),
    body: new SceneFlexLayout({ children: [new SceneFlexItem({ body: panel })] }),
  });
  return panel;
}

function linksOf(frames, panel, fieldConfig) {
  // Grafana's application registers all options of fields; of these only links are looked at.
  const registry = new FieldConfigOptionsRegistry(() => [
    { id: 'links', path: 'links', name: 'links', process: (value) => value, shouldApply: () => true, getItemsCount: (v) => v?.length ?? 0 },
  ]);
  const replaceVariables = (text, scoped, format) => sceneGraph.interpolate(panel, text, scoped, format);
  const done = applyFieldOverrides({
    data: frames, fieldConfig, replaceVariables, theme: createTheme(), timeZone: 'utc', fieldConfigRegistry: registry,
  });
  const found = {};
  for (const field of done[0].fields) {
    if (field.config.links?.length) {
      found[field.name] = field.getLinks({ valueRowIndex: 0 }).map(({ href, title, target }) => ({ href, title, target }));
    }
  }
  return found;
}

window.spanline = {
  // Links on the dots of a graph, from the destinations of a Prometheus data source.
  exemplars({ columns, destinations, sources, variables }) {
    const settings = (given) => sources[typeof given === 'string' ? given : given?.uid];
    setDataSourceSrv({ getInstanceSettings: settings, getList: () => Object.values(sources), get: async (uid) => sources[uid] });
    const panel = panelWith(variables);
    const frame = { ...frameOf(columns), meta: { custom: { resultType: 'exemplar' } } };
    const range = { from: dateTime(Date.now() - 36e5), to: dateTime(), raw: { from: 'now-1h', to: 'now' } };
    const request = { targets: [{ refId: 'A', expr: 'x', exemplar: true }], range, app: 'dashboard' };
    const made = transformV2({ data: [frame], state: LoadingState.Done }, request, { exemplarTraceIdDestinations: destinations });
    return linksOf(made.data, panel, { defaults: {}, overrides: [] });
  },
  // Links in the rows of a table, from a panel's overrides.
  rows: ({ columns, fieldConfig, variables }) => linksOf([frameOf(columns)], panelWith(variables), fieldConfig),
  // Texts with variables.
  texts: ({ texts, variables }) => texts.map((text) => sceneGraph.interpolate(panelWith(variables), text)),
  // Columns that a table shows after its transformation.
  async columns({ columns, transformation }) {
    const made = standardTransformers.organizeFieldsTransformer.operator(transformation.options, { interpolate: (text) => text });
    const { of } = await import('rxjs');
    return new Promise((answer) => of([frameOf(columns)]).pipe(made).subscribe(([frame]) => answer(frame.fields.map((f) => f.config.displayName ?? f.name))));
  },
};
