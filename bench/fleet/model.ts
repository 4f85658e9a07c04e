/** Where the model of model-driven agents comes from, by the settings of a scenario. */
import { CloveError } from '../../errors/index.ts';
import { llmFromEnvironment } from '../../kernel/llm/providers.ts';
import type { TrialParameters } from '../types.ts';
import type { Outside } from './types.ts';

/** For `settings` of a scenario whose agents may ask a model. */
export const MODEL_SETTINGS = {
  agents: 'scripted (default), or model: those who decide ask one, within the same rules',
  model: 'which one: a name at modelUrl, or mock (default: Gemini where GEMINI_API_KEY is set)',
  modelUrl: 'where /chat/completions is below, e.g. http://127.0.0.1:11434/v1',
  modelKeyEnv: 'name of the variable with its key; agents never see it',
} as const;

/** @throws CONFIG */
export function isModelDriven(params: TrialParameters): boolean {
  const { agents = 'scripted' } = params;
  if (agents !== 'scripted' && agents !== 'model')
    throw new CloveError('CONFIG', `agents are scripted or model, not ${agents}`);
  return agents === 'model';
}

/** What `llm` of a site has to be; undefined where agents are scripted. @throws CONFIG when a model is wanted and there is none */
export function modelOf(params: TrialParameters): Outside<unknown>['llm'] {
  if (!isModelDriven(params)) return undefined;
  const text = (name: string) => (params[name] === undefined ? undefined : String(params[name]));
  const [model, baseUrl, apiKeyEnv] = [text('model'), text('modelUrl'), text('modelKeyEnv')];
  if (model === 'mock' && baseUrl === undefined) return { provider: 'mock' };
  if (baseUrl !== undefined)
    return {
      provider: 'openai-compatible',
      baseUrl,
      model: model ?? 'default',
      ...(apiKeyEnv === undefined ? {} : { apiKeyEnv }),
    };
  const { baseUrl: url, model: usual, apiKeyEnv: key } = llmFromEnvironment(process.env) ?? {};
  if (!url || !key)
    throw new CloveError(
      'CONFIG',
      'agents=model needs a model: --set modelUrl=http://… --set model=NAME [--set modelKeyEnv=VARIABLE], or GEMINI_API_KEY in the environment',
    );
  return { provider: 'openai-compatible', baseUrl: url, model: model ?? usual ?? 'default', apiKeyEnv: key };
}
